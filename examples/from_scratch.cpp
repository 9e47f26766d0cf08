// A neural network from nothing but Tensors, in the order in which one thinks about it. It learns to tell two crescents
// of points apart, which no straight line can do.
#include <adjoint/adjoint.hpp>

#include <cmath>
#include <cstdlib>
#include <iostream>

namespace ad = adjoint;
using ad::Tensor;

int main() {
  ad::manual_seed(1);  // the same random numbers in every run

  // DATA: 1000 points with two coordinates, and for each a label, 0 or 1: which crescent it lies on. The coordinates
  // are measured in different units, as those of real data are.
  constexpr std::int64_t kPoints = 1000, kTraining = 800;
  const Tensor label = ad::cat({ad::zeros({kPoints / 2, 1}), ad::ones({kPoints / 2, 1})});
  const Tensor angle = 3.14159 * ad::rand({kPoints, 1});
  const Tensor side = 1 - 2 * label;  // 1 for the upper crescent, -1 for the lower one
  const Tensor across = side * ad::cos(angle) + label + 0.1 * ad::randn({kPoints, 1});
  const Tensor height = side * ad::sin(angle) + 0.5 * label + 0.1 * ad::randn({kPoints, 1});
  const Tensor points = ad::cat({100 * across, 0.01 * height}, 1);  // [1000, 2]

  // SPLIT: the network learns from the training part. Whether it has understood, rather than learnt by heart, the
  // validation part tells, which it never learns from. The points are in order, so shuffle them first.
  const Tensor order = ad::randperm(kPoints);
  const Tensor training = order.index(ad::Slice(0, kTraining)), validation = order.index(ad::Slice(kTraining));
  const Tensor x_raw = ad::index_select(points, 0, training), y = ad::index_select(label, 0, training);
  const Tensor x_val_raw = ad::index_select(points, 0, validation), y_val = ad::index_select(label, 0, validation);

  // STANDARDISE: bring each coordinate to mean 0 and deviation 1, so that none drowns the other. Mean and deviation
  // are those of the training part: the validation part is supposed to be unknown.
  const Tensor mean = ad::mean(x_raw, 0), deviation = ad::std(x_raw, 0);
  const Tensor x = (x_raw - mean) / deviation, x_val = (x_val_raw - mean) / deviation;

  // WEIGHTS AND BIASES: the numbers that are learnt. Two layers: 2 inputs -> 16 hidden units -> 1 output. Weights begin
  // random, so that the units differ, and small, so that sums stay of size 1. requires_grad_() says that derivatives
  // with respect to them will be asked for.
  Tensor weight1 = (ad::randn({2, 16}) / std::sqrt(2.0)).requires_grad_();
  Tensor bias1 = ad::zeros({16}).requires_grad_();
  Tensor weight2 = (ad::randn({16, 1}) / std::sqrt(16.0)).requires_grad_();
  Tensor bias2 = ad::zeros({1}).requires_grad_();

  // FORWARD PASS: from points to answers.
  const auto network = [&](const Tensor& input) {
    const Tensor sum1 = ad::matmul(input, weight1) + bias1;  // weighted sums, for all points and units at once
    const Tensor hidden = ad::tanh(sum1);                    // activation: without it both layers would be one
    return ad::matmul(hidden, weight2) + bias2;              // one number for each point: positive says "label 1"
  };

  // LOSS: how wrong the answers z are. With p = 1 / (1 + exp(-z)), the probability that the network gives to label
  // 1, it is the mean of -log(probability given to the right label), which comes to log(1 + exp(z)) - y z.
  const auto loss_of = [](const Tensor& z, const Tensor& labels) { return ad::mean(ad::softplus(z) - labels * z); };
  const auto accuracy_of = [](const Tensor& z, const Tensor& labels) {
    return ad::mean(((z > 0) == (labels > 0)).to(ad::float32)).item<double>();
  };

  // TRAINING: an epoch is one look at all training data.
  constexpr double kLearningRate = 0.5;
  double accuracy = 0;
  for (int epoch = 1; epoch <= 1000; ++epoch) {
    const Tensor loss = loss_of(network(x), y);

    // BACKWARD PASS: the derivative of the loss with respect to every weight and bias, by the chain rule.
    loss.backward();

    // GRADIENT DESCENT: a small step downhill, for each of them.
    {
      const ad::NoGradGuard no_grad;  // the step itself is not to be differentiated
      for (Tensor* parameter : {&weight1, &bias1, &weight2, &bias2}) {
        *parameter -= kLearningRate * parameter->grad();
        parameter->set_grad({});  // or the next backward() would add to it
      }
    }

    // VALIDATION: how well does it do on points that it has not learnt from?
    if (epoch % 200 == 0) {
      const ad::NoGradGuard no_grad;
      const Tensor answers = network(x_val);
      accuracy = accuracy_of(answers, y_val);
      std::cout << "epoch " << epoch << ": training loss " << loss.item<float>() << ", validation loss "
                << loss_of(answers, y_val).item<float>() << ", accuracy " << accuracy << '\n';
    }
  }
  return accuracy >= 0.97 ? EXIT_SUCCESS : EXIT_FAILURE;
}
