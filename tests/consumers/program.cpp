// A program of somebody else's: differentiates, trains a layer, saves it, and catches what the library throws.
#include <adjoint/adjoint.hpp>

#include <iostream>

namespace ad = adjoint;

int main() {
  const ad::Tensor x = ad::tensor({{1.0, 2.0}, {3.0, 4.0}}).to(ad::float64);
  const ad::Tensor gradient = ad::grad([](const ad::Tensor& v) { return ad::sum(ad::matmul(v, v)); })(x);
  if (!ad::equal(gradient, ad::tensor({{7.0, 11.0}, {9.0, 13.0}}).to(ad::float64))) return 1;

  ad::nn::Linear layer(2, 1);
  ad::optim::AdamOptions options;
  options.lr = 0.1;
  ad::optim::Adam optimizer(layer.parameters(), options);
  const ad::Tensor input = x.to(ad::float32), target = ad::ones({2, 1});
  double before = 0, after = 0;
  for (int step = 0; step < 20; ++step) {
    optimizer.zero_grad();
    const ad::Tensor loss = ad::nn::mse_loss(layer(input), target);
    loss.backward();
    optimizer.step();
    (step == 0 ? before : after) = loss.item<double>();
  }
  if (!(after < before)) return 2;

  layer.save("layer.safetensors");
  ad::nn::Linear copy(2, 1);
  copy.load("layer.safetensors");
  if (!ad::equal(copy(input), layer(input))) return 3;

  int caught = 0;
  try {
    ad::matmul(x, ad::ones({3, 1}));
  } catch (const ad::ShapeError& error) {
    std::cout << error.what() << '\n';
    ++caught;
  }
  try {
    ad::data::IdxReader("nowhere.gz");
  } catch (const ad::IoError& error) {
    std::cout << error.what() << '\n';
    ++caught;
  }
  std::cout << "adjoint " << ADJOINT_VERSION_STRING << '\n';
  return caught == 2 ? 0 : 4;
}
