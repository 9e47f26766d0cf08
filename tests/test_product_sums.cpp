// Sums of matrix products: each product is added to the sum as soon as it is there, in the sum's own memory.
#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "../bench/models.hpp"

namespace ad = adjoint;
using ad::Tensor;

namespace {

Tensor computed(const ad::Shape& shape, ad::Dtype dtype = ad::float32) {
  const Tensor x = ad::randn(shape, dtype);
  ad::eval(x);
  return x;
}

template <class T>
bool same_bits_of(const Tensor& a, const Tensor& b) {
  const std::vector<T> x = a.to_vector<T>(), y = b.to_vector<T>();
  return a.shape() == b.shape() && std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0;
}
bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dtype() == ad::float32 ? same_bits_of<float>(a, b) : same_bits_of<double>(a, b);
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}
std::size_t added_in(const std::vector<Tensor>& outputs) { return count(ad::explain(outputs).text, ", added to "); }

ad::engine::Options without(bool ad::engine::Options::*part) {
  ad::engine::Options options;
  options.*part = false;
  return options;
}

std::int64_t peak_of(const std::function<void()>& f) {
  ad::memory::reset_peak();
  const std::int64_t before = ad::memory::stats().live;
  f();
  return ad::memory::stats().peak - before;
}

/// h = tanh(h w) again and again: the gradient of w is a sum of as many products.
Tensor recurrent(const Tensor& w, const Tensor& start, int times) {
  Tensor h = start;
  for (int t = 0; t < times; ++t) h = ad::tanh(ad::matmul(h, w));
  return ad::sum(ad::square(h));
}
Tensor gradient_of(const Tensor& loss, const Tensor& w, bool create_graph = false) {
  ad::autograd::GradOptions options;
  options.create_graph = create_graph;
  return ad::autograd::grad({loss}, {w}, options)[0];
}
Tensor gradient(const Tensor& w, const Tensor& start, int times, bool create_graph = false) {
  return gradient_of(recurrent(w, start, times), w, create_graph);
}

}  // namespace

TEST_CASE("a sum of products has the bits of products that are added apart") {
  struct Size {
    std::int64_t rows, size;
  };
  for (const ad::Dtype dtype : {ad::float32, ad::float64})
    for (const Size s :
         {Size{1, 3}, Size{3, 8}, Size{7, 24}, Size{32, 64}, Size{48, 130}, Size{80, 96}, Size{300, 17}}) {
      CAPTURE(std::string(ad::name_of(dtype)));
      CAPTURE(s.rows);
      CAPTURE(s.size);
      const Tensor w = (computed({s.size, s.size}, dtype) * 0.3).detach(), start = computed({s.rows, s.size}, dtype);
      ad::eval(w);
      const Tensor parameter = Tensor(w).requires_grad_();
      const Tensor transposed = (w.t() * 1).detach().requires_grad_();
      const auto gradients = [&] {
        // The transposed one's is a sum of transposed products.
        const Tensor by_transposed = gradient_of(recurrent(transposed.t(), start, 6), transposed);
        std::vector<Tensor> results = {gradient(parameter, start, 6), by_transposed};
        ad::eval(results[0], results[1]);
        return results;
      };
      CHECK(added_in({gradient(parameter, start, 6)}) == 5);
      const std::vector<Tensor> first = gradients(), second = gradients(), replayed = gradients();
      for (const auto part : {&ad::engine::Options::fusion, &ad::engine::Options::donation}) {
        const ad::engine::OptionsGuard guard(without(part));
        const std::vector<Tensor> expected = gradients();
        for (std::size_t i = 0; i < 2; ++i) {
          CAPTURE(i);
          CHECK(same_bits(first[i], expected[i]));
          CHECK(same_bits(second[i], expected[i]));
          CHECK(same_bits(replayed[i], expected[i]));
        }
      }
    }
}

TEST_CASE("products and sums that are looked at on the way keep their values") {
  constexpr int kTerms = 7;
  std::vector<Tensor> a, b;
  for (int i = 0; i < kTerms; ++i) a.push_back(computed({40, 20})), b.push_back(computed({20, 30}));
  std::vector<Tensor> products, sums;
  const auto add_up = [&](int held_product, int held_sum) {
    products.clear(), sums.clear();
    Tensor sum = ad::matmul(a[0], b[0]);
    for (int i = 1; i < kTerms; ++i) {
      const Tensor product = ad::matmul(a[static_cast<std::size_t>(i)], b[static_cast<std::size_t>(i)]);
      sum = sum + product;
      if (i == held_product) products.push_back(product);
      if (i == held_sum) sums.push_back(sum);
    }
    return sum;
  };
  CHECK(added_in({add_up(0, 0)}) == kTerms - 1);
  std::vector<Tensor> partial(kTerms);  // one by one
  Tensor expected = ad::matmul(a[0], b[0]);
  for (int i = 1; i < kTerms; ++i) {
    expected = expected + ad::matmul(a[static_cast<std::size_t>(i)], b[static_cast<std::size_t>(i)]);
    ad::eval(expected);
    partial[static_cast<std::size_t>(i)] = expected;
  }
  CHECK(same_bits(add_up(0, 0), expected));
  for (int i = 1; i < kTerms; ++i)
    for (int k = 1; k < kTerms; ++k) {
      CAPTURE(i);
      CAPTURE(k);
      const Tensor sum = add_up(i, k);
      CHECK(same_bits(sum, expected));
      CHECK(same_bits(sums[0], partial[static_cast<std::size_t>(k)]));
      CHECK(same_bits(products[0], ad::matmul(a[static_cast<std::size_t>(i)], b[static_cast<std::size_t>(i)])));
    }
  // Elements that the host program has a pointer to are not written over.
  const Tensor start = computed({40, 30});
  const float* const elements = start.data<float>();
  const float first = elements[0];
  Tensor sum = start;
  for (int i = 0; i < kTerms; ++i)
    sum = sum + ad::matmul(a[static_cast<std::size_t>(i)], b[static_cast<std::size_t>(i)]);
  ad::eval(sum);
  CHECK(elements[0] == first);
}

TEST_CASE("what is added to is what lies like the product") {
  std::vector<Tensor> a, b;
  for (int i = 0; i < 5; ++i) a.push_back(computed({3, 8, 20})), b.push_back(computed({3, 20, 8}));
  const auto product = [&](std::size_t i) { return ad::matmul(a[i], b[i]); };
  const auto check = [&](const std::function<Tensor()>& sum) {
    const Tensor result = sum();
    CHECK(added_in({result}) > 0);
    const ad::engine::OptionsGuard guard(without(&ad::engine::Options::fusion));
    CHECK(same_bits(result, sum()));
  };
  check([&] { return product(0) + product(1) + product(2) + product(3); });
  check([&] { return product(0).transpose(1, 2) + product(1) + product(2).transpose(1, 2) + product(3); });
  check([&] {
    return product(0).reshape({24, 8}) + product(1).reshape({24, 8}) + product(2).reshape({24, 8}) +
           product(3).transpose(1, 2).reshape({24, 8});
  });
  check([&] { return ad::zeros({3, 8, 8}) + product(1) + product(2) + product(3); });
  check([&] { return ad::broadcast_to(a[0][0][0][0], {3, 8, 8}) + product(1) + product(2) + product(3); });
  check([&] { return ad::relu(product(0)) + product(1) + product(2) + product(2) + product(3); });
}

TEST_CASE("sums of products are differentiated twice") {
  const Tensor w = Tensor((computed({12, 12}) * 0.3).detach()).requires_grad_(), start = computed({4, 12});
  const auto second = [&] { return gradient_of(ad::sum(ad::square(gradient(w, start, 6, true))), w); };
  const Tensor result = second();
  CHECK(added_in({second()}) > 0);
  const ad::engine::OptionsGuard guard(without(&ad::engine::Options::fusion));
  CHECK(same_bits(result, second()));
}

TEST_CASE("a sum fails with its product") {
  std::vector<Tensor> a, b;
  for (int i = 0; i < 5; ++i) a.push_back(computed({4, 4})), b.push_back(computed({4, 4}));
  a[3] = ad::index_select(a[3], 0, ad::tensor(std::vector<std::int64_t>{0, 1, 2, 4}));
  Tensor sum = ad::matmul(a[0], b[0]);
  std::vector<Tensor> sums;
  for (std::size_t i = 1; i < 5; ++i) {
    sum = sum + ad::matmul(a[i], b[i]);
    if (i == 2) sums.push_back(sum);
  }
  CHECK_THROWS_AS(ad::eval(sum), ad::ValueError);
  CHECK(same_bits(sums[0], ad::matmul(a[0], b[0]) + ad::matmul(a[1], b[1]) + ad::matmul(a[2], b[2])));
}

TEST_CASE("a long sum of products needs the memory of one") {
  constexpr std::int64_t kTimes = 32, kBatch = 32, kHidden = 256, kWeight = 4 * kHidden * kHidden * 4;  // bytes
  ad::bench::Lstm net(kHidden, kHidden);
  const Tensor x = computed({kTimes, kBatch, kHidden});
  const auto backward = [&] {
    for (Tensor parameter : net.parameters()) parameter.set_grad({});
    return peak_of([&] {
      ad::sum(ad::square(net(x))).backward();
      for (const Tensor& parameter : net.parameters()) ad::eval(parameter.grad());
    });
  };
  backward();
  // Of all times: the gates, twice, the states, the outputs, and their gradients; and two weights' gradients, where
  // there were as many as times.
  CHECK(backward() < 12 * kTimes * kBatch * kHidden * 4 + 3 * kWeight);
}
