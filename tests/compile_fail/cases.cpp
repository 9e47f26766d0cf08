// One program per CASE: 0 compiles; each of the others is a mistake that the compiler must refuse.
#include <adjoint/adjoint.hpp>

#include <vector>

namespace ad = adjoint;

void use() {
  ad::Tensor x = ad::ones({2, 3});
  const ad::Tensor y = ad::ones({3});
  const std::vector<std::int64_t> sizes{2, 3};
#if CASE == 0
  ad::Tensor image = ad::zeros({1, 3, 640, 640});
  x = ad::zeros(ad::Shape(sizes));
  x += y;
  x *= 2;
  x.set_(image);
  ad::Tensor row = x[0];
  row = y;
  const float* data = row.data<float>();
  static_cast<void>(data);
#elif CASE == 1  // a comma expression is no shape
  x = ad::zeros((1, 3, 640, 640));
#elif CASE == 2  // nor is a number
  x = ad::zeros(640);
#elif CASE == 3  // nor, without saying so, a vector
  x = ad::zeros(sizes);
#elif CASE == 4  // there are no views to assign through
  x[0] = y;
#elif CASE == 5
  x[0] += y;
#elif CASE == 6
  x.reshape({3, 2}) = y;
#elif CASE == 7
  x[0].set_(y);
#elif CASE == 8
  x.t() *= 2;
#elif CASE == 9   // a const handle is not rebound
  y += x;
#elif CASE == 10  // the elements would be gone with the temporary
  const float* data = x[0].data<float>();
  static_cast<void>(data);
#elif CASE == 11  // no dtype holds these
  const std::vector<long double> numbers{1.0L};
  x = ad::tensor(numbers);
#elif CASE == 12  // a tensor is no condition: that would be a look in disguise
  if (x > y) x = y;
#else
#error no such case
#endif
}
