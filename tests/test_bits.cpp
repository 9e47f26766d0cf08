// Composites, forward and backward, have the same bits with 1, 2, 3 and 4 threads, and whether or not somebody looks
// at what lies between; and the host program's OpenMP settings are its own. (Single operations: test_ops.)
#include "core/thread_state.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>
#include <omp.h>

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace ad = adjoint;
namespace nn = adjoint::nn;
using ad::Tensor;

namespace {

using Bytes = std::vector<std::vector<std::byte>>;

template <class T>
std::vector<std::byte> bytes_of(const Tensor& x) {
  const auto* bytes = reinterpret_cast<const std::byte*>(x.data<T>());
  return {bytes, bytes + static_cast<std::size_t>(x.numel()) * sizeof(T)};
}
std::vector<std::byte> bytes_of(const Tensor& x) {
  return x.dtype() == ad::float64 ? bytes_of<double>(x) : bytes_of<float>(x);
}

/// Looks at values, or not, as the way at hand says.
using Look = std::function<Tensor(const Tensor&)>;
/// Records from inputs, of which those that require grad are differentiated.
struct Composite {
  std::string name;
  std::vector<Tensor> inputs;
  std::function<Tensor(const std::vector<Tensor>&, const Look&)> compute;
};

Tensor normal(const ad::Shape& shape, ad::Dtype dtype = ad::float32) {
  const Tensor result = ad::randn(shape, dtype);
  ad::eval(result);
  return result;
}

/// Larger than a thread's chunk, of rows and columns that do not fit tiles.
std::vector<Composite> composites() {
  std::vector<Composite> result;
  for (const ad::Dtype dtype : {ad::float32, ad::float64})
    for (const ad::Shape& shape : {ad::Shape{517, 331}, ad::Shape{5, 40001}, ad::Shape{40001, 5}}) {
      const std::int64_t columns = shape.back();
      const std::string of = " " + ad::to_string(shape) + " " + ad::name_of(dtype);
      const Tensor x = normal(shape, dtype), weight = normal({columns}, dtype), bias = normal({columns}, dtype);
      const auto add = [&](const char* name, std::vector<Tensor> inputs, auto compute) {
        result.push_back({name + of, std::move(inputs), compute});
      };
      using Inputs = const std::vector<Tensor>&;
      add("softmax", {x}, [](Inputs in, const Look&) { return ad::softmax(in[0], -1); });
      add("softmax of columns", {x}, [](Inputs in, const Look&) { return ad::softmax(in[0], 0); });
      add("log_softmax", {x}, [](Inputs in, const Look&) { return ad::log_softmax(in[0], -1); });
      add("tempered masked softmax", {x}, [](Inputs in, const Look& look) {
        const Tensor scores = look(ad::where(in[0] > -1, in[0] / 1.7, -1e9));
        const Tensor e = look(ad::exp(scores - ad::amax(scores, -1, true)));
        return e / ad::sum(e, -1, true);
      });
      add("layer_norm", {x, weight, bias},
          [columns](Inputs in, const Look&) { return ad::layer_norm(in[0], {columns}, in[1], in[2]); });
      add("rms_norm", {x, weight}, [](Inputs in, const Look& look) {
        return look(in[0] * ad::rsqrt(look(ad::mean(ad::square(in[0]), -1, true)) + 1e-5)) * in[1];
      });
      add("gelu", {x}, [](Inputs in, const Look&) { return ad::gelu(in[0]); });
      add("gelu by tanh", {x}, [](Inputs in, const Look& look) {
        return 0.5 * in[0] * (1.0 + look(ad::tanh(0.7978845608 * (in[0] + 0.044715 * look(in[0] * in[0] * in[0])))));
      });
      add("dropout", {x}, [](Inputs in, const Look& look) {
        ad::Generator generator(5);
        return look(ad::dropout(in[0], 0.3, true, generator)) * 2 - in[0];
      });
      add("cross_entropy", {x}, [columns](Inputs in, const Look&) {
        ad::Generator generator(6);
        return nn::cross_entropy(in[0], ad::randint(0, columns, {in[0].size(0)}, ad::int64, generator));
      });
      add("mse_loss", {x, x}, [](Inputs in, const Look& look) { return nn::mse_loss(look(ad::tanh(in[0])), in[1]); });
      add("statistics of columns", {x, weight}, [](Inputs in, const Look& look) {
        const Tensor centred = look(in[0] - look(ad::mean(in[0], 0, true)));
        return centred * ad::rsqrt(look(ad::var(in[0], 0, 0, true)) + 1e-5) * in[1];
      });
      add("bias", {x, bias}, [](Inputs in, const Look& look) { return ad::relu(look(in[0] + in[1])); });
      add("transposed", {x, weight}, [](Inputs in, const Look& look) {
        return ad::sum(look(ad::sigmoid(in[0].t() * ad::unsqueeze(in[1], 1))), 0) * 0.5 + ad::amax(in[0]);
      });
    }
  const Tensor images = normal({9, 6, 37, 41});
  result.push_back({"batch_norm", {images, normal({6}), normal({6})}, [](const auto& in, const Look& look) {
                      const Tensor mean = look(ad::mean(in[0], {0, 2, 3}, true));
                      const Tensor centred = in[0] - mean;
                      const Tensor var = look(ad::mean(ad::square(centred), {0, 2, 3}, true));
                      return ad::relu(look(centred * ad::rsqrt(var + 1e-5)) * ad::reshape(in[1], {6, 1, 1}) +
                                      ad::reshape(in[2], {6, 1, 1}));
                    }});
  result.push_back({"max and average pooling", {images}, [](const auto& in, const Look& look) {
                      return look(ad::max_pool2d(in[0], 2)) + ad::avg_pool2d(in[0], 2);
                    }});
  return result;
}

enum class Way { together, looking, loss_first, eager, one_by_one };

/// The result, the loss, and the gradients.
Bytes run(const Composite& composite, int threads, Way way) {
  auto& state = ad::detail::ThreadState::get();
  const int threads_before = ad::get_num_threads();
  const bool fuse_before = state.fuse;
  ad::set_num_threads(threads);
  state.fuse = way != Way::one_by_one;
  std::vector<Tensor> values;
  {
    std::optional<ad::EagerGuard> eager;
    if (way == Way::eager) eager.emplace();
    std::vector<Tensor> inputs;
    for (const Tensor& input : composite.inputs) inputs.push_back(input.detach().requires_grad_());
    std::vector<Tensor> seen;
    const Tensor result = composite.compute(inputs, [&](const Tensor& x) {
      if (way == Way::looking) {
        ad::eval(x);
        seen.push_back(x);
      }
      return x;
    });
    const Tensor loss = ad::sum(ad::square(result) * 0.1 + result);
    if (way == Way::loss_first || way == Way::looking) ad::eval(loss);
    loss.backward();
    values = {result, loss};
    for (const Tensor& input : inputs) values.push_back(input.grad());
    ad::eval(values);
  }
  state.fuse = fuse_before;
  ad::set_num_threads(threads_before);
  Bytes result;
  for (const Tensor& value : values) result.push_back(bytes_of(value));
  return result;
}

}  // namespace

TEST_CASE("composites have the same bits with any number of threads, looked at or not") {
  for (const Composite& composite : composites()) {
    CAPTURE(composite.name);
    const Bytes expected = run(composite, 1, Way::together);
    for (const int threads : {1, 2, 3, 4}) {
      CAPTURE(threads);
      for (const Way way : {Way::together, Way::looking, Way::loss_first, Way::eager, Way::one_by_one}) {
        CAPTURE(static_cast<int>(way));
        const Bytes found = run(composite, threads, way);
        REQUIRE(found.size() == expected.size());
        for (std::size_t i = 0; i < found.size(); ++i) {
          CAPTURE(i);
          CHECK(found[i] == expected[i]);
        }
      }
    }
  }
}

TEST_CASE("updates of parameters have the same bits with any number of threads") {
  const auto updated = [](int threads, int kind) {
    const int before = ad::get_num_threads();
    ad::set_num_threads(threads);
    ad::manual_seed(3);
    std::vector<Tensor> parameters;
    for (const ad::Shape& shape : {ad::Shape{300, 401}, ad::Shape{70001}, ad::Shape{7}})
      parameters.push_back(ad::randn(shape).requires_grad_());
    std::unique_ptr<ad::optim::Optimizer> optimizer;
    if (kind == 0) {
      optimizer = std::make_unique<ad::optim::Adam>(parameters);
    } else {
      ad::optim::SGDOptions options;
      options.momentum = 0.9;
      options.weight_decay = 0.01;
      options.lr = 0.1;
      optimizer = std::make_unique<ad::optim::SGD>(parameters, options);
    }
    Bytes result;
    for (int i = 0; i < 3; ++i) {
      for (const Tensor& parameter : parameters) parameter.set_grad(ad::randn(parameter.shape()));
      ad::optim::clip_grad_norm_(parameters, 1);
      optimizer->step();
    }
    for (const Tensor& parameter : parameters) result.push_back(bytes_of(parameter));
    ad::set_num_threads(before);
    return result;
  };
  for (const int kind : {0, 1})
    for (const int threads : {2, 3, 4}) {
      CAPTURE(kind);
      CAPTURE(threads);
      CHECK(updated(threads, kind) == updated(1, kind));
    }
}

TEST_CASE("control: bits that differ are noticed") {
  const Composite by_threads{"by threads", {normal({300, 300})}, [](const auto& in, const Look&) {
                               return in[0] * (ad::get_num_threads() == 3 ? 1.0000001 : 1.0);
                             }};
  CHECK(run(by_threads, 2, Way::together) == run(by_threads, 1, Way::together));
  CHECK(run(by_threads, 3, Way::together) != run(by_threads, 1, Way::together));
  const Composite by_look{"by looks", {normal({300, 300})}, [](const auto& in, const Look& look) {
                            return in[0] * (look(-in[0]).is_computed() ? 1.0000001 : 1.0);
                          }};
  CHECK(run(by_look, 1, Way::looking) != run(by_look, 1, Way::together));
  CHECK(run(by_look, 1, Way::eager) != run(by_look, 1, Way::together));
}

TEST_CASE("the host program's OpenMP settings are its own") {
  const auto settings = [] {
    omp_sched_t schedule{};
    int chunk = 0;
    omp_get_schedule(&schedule, &chunk);
    return std::tuple(omp_get_max_threads(), omp_get_dynamic(), omp_get_max_active_levels(), schedule, chunk,
                      omp_get_num_threads(), omp_get_level());
  };
  const auto before = settings();
  omp_set_num_threads(3);
  omp_set_dynamic(1);
  omp_set_max_active_levels(2);
  omp_set_schedule(omp_sched_dynamic, 7);
  const auto mine = settings();
  const int threads_before = ad::get_num_threads();
  for (const int threads : {1, 2, 4}) {
    ad::set_num_threads(threads);
    CHECK(settings() == mine);
    nn::Sequential net(nn::Conv2d(1, 4, 3), nn::ReLU(), nn::Flatten(), nn::Linear(4 * 26 * 26, 10));
    ad::optim::Adam optimizer(net.parameters());
    const Tensor loss = ad::sum(ad::log_softmax(net(ad::randn({64, 1, 28, 28})), -1));
    loss.backward();
    CHECK(settings() == mine);
    optimizer.step();
    loss.item<float>();
    CHECK(settings() == mine);
    ad::sum(ad::matmul(ad::randn({200, 200}, ad::float64), ad::randn({200, 200}, ad::float64))).item<double>();
    CHECK(settings() == mine);
    CHECK_THROWS_AS(ad::eval(ad::gather(ad::rand({100000}), 0, ad::full({5}, 100000))), ad::ValueError);
    CHECK(settings() == mine);
  }
  ad::set_num_threads(threads_before);
  omp_set_num_threads(std::get<0>(before));
  omp_set_dynamic(std::get<1>(before));
  omp_set_max_active_levels(std::get<2>(before));
  omp_set_schedule(std::get<3>(before), std::get<4>(before));
}
