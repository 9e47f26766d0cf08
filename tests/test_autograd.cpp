#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

namespace ad = adjoint;

TEST_CASE("the first program") {
  ad::Tensor w = ad::tensor({0.5f, -1.0f}).requires_grad_();
  ad::Tensor x = ad::tensor({2.0f, 3.0f});
  ad::Tensor loss = ad::square(ad::sum(w * x) - 1.0f);
  CHECK_FALSE(loss.is_computed());
  loss.backward();
  CHECK(loss.item<float>() == 9.0f);
  CHECK(w.grad().to_vector<float>() == std::vector<float>{-12.0f, -18.0f});
  CHECK(ad::to_string(w.grad()) == "[-12. -18.]");
}
