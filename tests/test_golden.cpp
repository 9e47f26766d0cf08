// Numbers from PyTorch: tests/golden.
#include "golden.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>

namespace ad = adjoint;
using ad::Tensor;

namespace {

ad::nn::Sequential mlp(const ad::StateDict& numbers) {
  using ad::nn::Linear;
  ad::nn::Sequential net(Linear(12, 16), ad::nn::ReLU(), Linear(16, 10), ad::nn::Tanh(), Linear(10, 8), ad::nn::GELU(),
                         Linear(8, 5));
  net.to(ad::float64);
  ad::StateDict initial;
  for (const auto& [name, parameter] : net.named_parameters()) initial.insert(name, numbers.at("initial/" + name));
  net.load_state_dict(initial);
  return net;
}

}  // namespace

TEST_CASE("forward pass, loss and gradients of an MLP") {
  const ad::StateDict numbers = golden("mlp");
  const ad::nn::Sequential net = mlp(numbers);
  const Tensor logits = net(numbers.at("inputs")[0]);
  const Tensor loss = ad::nn::cross_entropy(logits, numbers.at("labels")[0]);
  loss.backward();
  CHECK(difference(logits, numbers.at("logits")) < kTolerance);
  CHECK(difference(loss, numbers.at("loss")) < kTolerance);
  for (const auto& [name, parameter] : net.named_parameters()) {
    CAPTURE(name);
    CHECK(difference(parameter.grad(), numbers.at("gradient/" + name)) < kTolerance);
  }
}

TEST_CASE("twenty steps of the optimizers") {
  using Make = std::function<std::unique_ptr<ad::optim::Optimizer>(std::vector<Tensor>)>;
  const auto sgd = [](double lr, double momentum, double dampening, bool nesterov, double weight_decay) {
    return [=](std::vector<Tensor> parameters) {
      ad::optim::SGDOptions options;
      options.lr = lr;
      options.momentum = momentum;
      options.dampening = dampening;
      options.nesterov = nesterov;
      options.weight_decay = weight_decay;
      return std::make_unique<ad::optim::SGD>(std::move(parameters), options);
    };
  };
  const auto adam = [](std::vector<Tensor> parameters) {
    ad::optim::AdamOptions options;
    options.lr = 0.01;
    options.betas = {0.85, 0.99};
    options.eps = 1e-7;
    options.weight_decay = 0.02;
    return std::make_unique<ad::optim::Adam>(std::move(parameters), options);
  };
  const std::pair<std::string, Make> cases[] = {{"sgd", sgd(0.1, 0, 0, false, 0)},
                                                {"nesterov", sgd(0.05, 0.9, 0, true, 0.01)},
                                                {"dampening", sgd(0.05, 0.8, 0.3, false, 0)},
                                                {"clipped", sgd(0.5, 0.9, 0, false, 0)},
                                                {"adam", adam}};
  const ad::StateDict numbers = golden("mlp");
  const Tensor &inputs = numbers.at("inputs"), &labels = numbers.at("labels");
  for (const auto& [name, make] : cases) {
    CAPTURE(name);
    ad::nn::Sequential net = mlp(numbers);
    const auto optimizer = make(net.parameters());
    std::vector<Tensor> losses;
    for (int step = 0; step < 20; ++step) {
      optimizer->zero_grad();
      const Tensor loss = ad::nn::cross_entropy(net(inputs[step]), labels[step]);
      loss.backward();
      if (name == "clipped") ad::optim::clip_grad_norm_(net.parameters(), 0.25);
      optimizer->step();
      losses.push_back(loss);
    }
    CHECK(difference(ad::stack(losses).detach(), numbers.at(name + "/losses")) < kTolerance);
    for (const auto& [parameter_name, parameter] : net.named_parameters()) {
      CAPTURE(parameter_name);
      CHECK(difference(parameter, numbers.at(name + "/" + parameter_name)) < kTolerance);
    }
  }
}

TEST_CASE("losses and their gradients") {
  namespace nn = ad::nn;
  using nn::Reduction;
  const ad::StateDict numbers = golden("losses");
  const auto optional = [&](const std::string& name) {
    const Tensor* tensor = numbers.find(name);
    return tensor ? *tensor : Tensor();
  };
  const auto cross_entropy = [&](const std::string& name, Reduction reduction, std::int64_t ignore_index = -100,
                                 double label_smoothing = 0) {
    return [=](const Tensor& input, const Tensor& target) {
      return nn::cross_entropy(input, target, {optional(name + "/weight"), ignore_index, reduction, label_smoothing});
    };
  };
  const auto nll = [&](const std::string& name, Reduction reduction) {
    return [=](const Tensor& input, const Tensor& target) {
      return nn::nll_loss(input, target, {optional(name + "/weight"), -100, reduction});
    };
  };
  const auto bce = [&](const std::string& name, Reduction reduction) {
    return [=](const Tensor& input, const Tensor& target) {
      return nn::binary_cross_entropy_with_logits(
          input, target, {optional(name + "/weight"), optional(name + "/pos_weight"), reduction});
    };
  };

  int count = 0;
  const auto check = [&](const std::string& name, const auto& function) {
    CAPTURE(name);
    Tensor input = numbers.at(name + "/input").detach();
    input.requires_grad_();
    const Tensor loss = function(input, numbers.at(name + "/target"));
    CHECK(difference(loss, numbers.at(name + "/loss")) < kTolerance);
    ad::sum(loss * numbers.at(name + "/cotangent")).backward();
    CHECK(difference(input.grad(), numbers.at(name + "/gradient")) < kTolerance);
    ++count;
  };

  const std::pair<Reduction, std::string> reductions[] = {
      {Reduction::mean, "mean"}, {Reduction::sum, "sum"}, {Reduction::none, "none"}};
  for (const auto& [reduction, name] : reductions) {
    const auto with = [&, suffix = "_" + name](const std::string& prefix) { return prefix + suffix; };
    check(with("cross_entropy"), cross_entropy(with("cross_entropy"), reduction));
    check(with("cross_entropy_weight_smoothing"),
          cross_entropy(with("cross_entropy_weight_smoothing"), reduction, -100, 0.2));
    check(with("cross_entropy_images"), cross_entropy(with("cross_entropy_images"), reduction, 7));
    check(with("cross_entropy_probabilities"),
          cross_entropy(with("cross_entropy_probabilities"), reduction, -100, 0.1));
    check(with("nll"), nll(with("nll"), reduction));
    check(with("bce"), bce(with("bce"), reduction));
    check(with("mse"), [r = reduction](const Tensor& x, const Tensor& y) { return nn::mse_loss(x, y, r); });
    check(with("l1"), [r = reduction](const Tensor& x, const Tensor& y) { return nn::l1_loss(x, y, r); });
  }
  check("cross_entropy_vector", cross_entropy("cross_entropy_vector", Reduction::mean));
  check("cross_entropy_image_probabilities", cross_entropy("cross_entropy_image_probabilities", Reduction::mean));
  check("cross_entropy_large", cross_entropy("cross_entropy_large", Reduction::mean));
  check("bce_large", bce("bce_large", Reduction::mean));

  int recorded = 0;
  for (const auto& [name, tensor] : numbers) recorded += name.find("/loss") != std::string::npos;
  CHECK(count == recorded);
}

namespace {

// A function of the inputs that have a gradient among the numbers of a case: its value, and these gradients.
void check_case(const ad::StateDict& numbers,
                const std::function<Tensor(const std::function<Tensor(const char*)>&)>& f) {
  const ad::StateDict gradients = with_prefix(numbers, "gradient/");
  std::vector<std::pair<std::string, Tensor>> leaves;
  for (const auto& [name, gradient] : gradients)
    if (const Tensor* value = numbers.find(name)) leaves.emplace_back(name, value->detach().requires_grad_());
  const Tensor value = f([&](const char* name) {
    for (const auto& [leaf, tensor] : leaves)
      if (leaf == name) return tensor;
    return numbers.at(name);
  });
  CHECK(difference(value, numbers.at("value")) < kTolerance);
  ad::sum(value * numbers.at("cotangent")).backward();
  CHECK_FALSE(leaves.empty());
  for (const auto& [name, leaf] : leaves) {
    CAPTURE(name);
    CHECK(difference(leaf.grad(), gradients.at(name)) < kTolerance);
  }
}

}  // namespace

TEST_CASE("more losses and their gradients") {
  namespace nn = ad::nn;
  const ad::StateDict numbers = golden("losses2");
  const std::pair<nn::Reduction, std::string> reductions[] = {
      {nn::Reduction::mean, "mean"}, {nn::Reduction::sum, "sum"}, {nn::Reduction::none, "none"}};
  int count = 0;
  for (const auto& [reduction, suffix] : reductions) {
    const auto check = [&, suffix = suffix](const std::string& name, const auto& function) {
      CAPTURE(name);
      CAPTURE(suffix);
      check_case(with_prefix(numbers, name + "_" + suffix + "/"), function);
      ++count;
    };
    const auto of = [r = reduction](Tensor (*loss)(const Tensor&, const Tensor&, double, nn::Reduction), double value) {
      return [=](const auto& get) { return loss(get("input"), get("target"), value, r); };
    };
    check("smooth_l1", of(nn::smooth_l1_loss, 1));
    check("smooth_l1_half", of(nn::smooth_l1_loss, 0.5));
    check("smooth_l1_zero", of(nn::smooth_l1_loss, 0));
    check("huber", of(nn::huber_loss, 1));
    check("huber_half", of(nn::huber_loss, 0.5));
    check("bce",
          [r = reduction](const auto& get) { return nn::binary_cross_entropy(get("input"), get("target"), {}, r); });
    check("bce_weight", [r = reduction](const auto& get) {
      return nn::binary_cross_entropy(get("input"), get("target"), get("weight"), r);
    });
  }
  int recorded = 0;
  for (const auto& [name, tensor] : numbers) recorded += name.find("/cotangent") != std::string::npos;
  CHECK(count == recorded);

  const ad::StateDict edges = with_prefix(numbers, "bce_edges/");
  CHECK(difference(nn::binary_cross_entropy(edges.at("input"), edges.at("target"), {}, nn::Reduction::none),
                   edges.at("value")) < kTolerance);
}

TEST_CASE("layer_norm, rms_norm and Embedding") {
  const ad::StateDict numbers = golden("layers");
  const auto check = [&](const std::string& name, const auto& function) {
    CAPTURE(name);
    check_case(with_prefix(numbers, name + "/"), function);
  };
  check("layer_norm", [](const auto& get) { return ad::layer_norm(get("x"), {5}, get("weight"), get("bias")); });
  check("layer_norm_two", [](const auto& get) { return ad::layer_norm(get("x"), {6, 5}, get("weight"), {}, 0.1); });
  check("layer_norm_plain", [](const auto& get) { return ad::layer_norm(get("x"), {5}); });
  check("rms_norm", [](const auto& get) { return ad::rms_norm(get("x"), {5}, get("weight")); });
  check("rms_norm_eps", [](const auto& get) { return ad::rms_norm(get("x"), {6, 5}, {}, 0.1); });

  for (const std::string name : {"embedding", "embedding_padding"}) {
    CAPTURE(name);
    const ad::StateDict of_case = with_prefix(numbers, name + "/");
    ad::nn::EmbeddingOptions options;
    options.dtype = ad::float64;
    if (name == "embedding_padding") options.padding_idx = 2;
    ad::nn::Embedding embedding(7, 3, options);
    embedding.weight = of_case.at("weight");
    const Tensor value = embedding(of_case.at("index"));
    CHECK(difference(value, of_case.at("value")) < kTolerance);
    ad::sum(value * of_case.at("cotangent")).backward();
    CHECK(difference(embedding.weight.grad(), of_case.at("gradient/weight")) < kTolerance);
  }
}

TEST_CASE("batch normalisation: three batches in training, one in evaluation") {
  namespace nn = ad::nn;
  const ad::StateDict numbers = golden("layers");
  const auto check = [&](const std::string& name, auto norm) {
    CAPTURE(name);
    const ad::StateDict of_layer = with_prefix(numbers, name + "/");
    for (auto& [parameter_name, parameter] : norm.named_parameters()) {
      const ad::NoGradGuard no_grad;
      parameter.set_(of_layer.at(parameter_name));
    }
    for (int i = 0; i < 4; ++i) {
      CAPTURE(i);
      const ad::StateDict of_batch = with_prefix(of_layer, std::to_string(i) + "/");
      norm.train(i < 3);
      norm.zero_grad();
      check_case(of_batch, [&](const auto& get) { return norm(get("x")); });
      for (const auto& [parameter_name, parameter] : norm.named_parameters())
        CHECK(difference(parameter.grad(), of_batch.at("gradient/" + parameter_name)) < kTolerance);
      const ad::StateDict after = with_prefix(of_batch, "after/");
      CHECK(norm.named_buffers().size() == after.size());
      for (const auto& [buffer_name, buffer] : norm.named_buffers()) {
        CAPTURE(buffer_name);
        if (buffer.dtype() == ad::int64) CHECK(ad::equal(buffer, after.at(buffer_name)));
        else CHECK(difference(buffer, after.at(buffer_name)) < kTolerance);
      }
    }
  };
  nn::BatchNormOptions options;
  options.dtype = ad::float64;
  check("batch_norm1d", nn::BatchNorm1d(6, options));
  check("batch_norm2d", nn::BatchNorm2d(4, options));
  nn::BatchNormOptions other = options;
  other.momentum = 0.3;
  other.eps = 0.01;
  check("batch_norm1d_length", nn::BatchNorm1d(6, other));
  other = options;
  other.momentum.reset();
  check("batch_norm2d_cumulative", nn::BatchNorm2d(4, other));
  other = options;
  other.affine = false;
  check("batch_norm2d_plain", nn::BatchNorm2d(4, other));
  other = options;
  other.track_running_stats = false;
  check("batch_norm2d_untracked", nn::BatchNorm2d(4, other));
}

TEST_CASE("groups of parameters, schedules, a frozen layer") {
  namespace optim = ad::optim;
  const ad::StateDict numbers = golden("groups"), data = golden("mlp");
  const Tensor &inputs = data.at("inputs"), &labels = data.at("labels");
  using Make = std::function<std::unique_ptr<optim::Optimizer>(std::vector<Tensor> first, std::vector<Tensor> second)>;
  using MakeScheduler = std::function<std::unique_ptr<optim::LRScheduler>(optim::Optimizer&)>;
  const auto check = [&](const std::string& name, const Make& make, const MakeScheduler& make_scheduler) {
    CAPTURE(name);
    const ad::StateDict expected = with_prefix(numbers, name + "/");
    ad::nn::Sequential net = mlp(data);
    net[2].requires_grad_(false);
    const std::vector<Tensor> all = net.parameters();
    const auto optimizer = make({all.begin(), all.begin() + 4}, {all.begin() + 4, all.end()});
    const auto scheduler = make_scheduler(*optimizer);
    std::vector<Tensor> losses, rates;
    for (int step = 0; step < 20; ++step) {
      rates.push_back(ad::tensor(scheduler->last_lr()));
      CHECK(optimizer->lr(1) == scheduler->last_lr()[1]);
      optimizer->zero_grad();
      const Tensor loss = ad::nn::cross_entropy(net(inputs[step]), labels[step]);
      loss.backward();
      optimizer->step();
      scheduler->step();
      losses.push_back(loss);
    }
    CHECK(difference(ad::stack(rates), expected.at("rates")) < 1e-12);
    CHECK(difference(ad::stack(losses).detach(), expected.at("losses")) < kTolerance);
    for (const auto& [parameter_name, parameter] : net.named_parameters()) {
      CAPTURE(parameter_name);
      CHECK(difference(parameter, expected.at(parameter_name)) < kTolerance);
    }
  };
  check(
      "adamw",
      [](std::vector<Tensor> first, std::vector<Tensor> second) {
        optim::AdamGroup own{std::move(first)};
        own.options.lr = 0.002;
        own.options.weight_decay = 0.3;
        optim::AdamWOptions options;
        options.lr = 0.01;
        options.weight_decay = 0.1;
        return std::make_unique<optim::AdamW>(std::vector<optim::AdamGroup>{own, {std::move(second)}}, options);
      },
      [](optim::Optimizer& optimizer) {
        optim::LRSchedulerOptions options;
        options.warmup_steps = 4;
        options.warmup_start_factor = 0.25;
        return std::make_unique<optim::CosineAnnealingLR>(optimizer, 12, 1e-4, options);
      });
  check(
      "adam",
      [](std::vector<Tensor> first, std::vector<Tensor> second) {
        optim::AdamGroup own{std::move(first)};
        own.options.betas = {0.8, 0.95};
        own.options.weight_decay = 0.05;
        optim::AdamOptions options;
        options.lr = 0.01;
        options.eps = 1e-6;
        return std::make_unique<optim::Adam>(std::vector<optim::AdamGroup>{own, {std::move(second)}}, options);
      },
      [](optim::Optimizer& optimizer) { return std::make_unique<optim::StepLR>(optimizer, 6, 0.3); });
  check(
      "sgd",
      [](std::vector<Tensor> first, std::vector<Tensor> second) {
        optim::SGDGroup own{std::move(first)};
        own.options.lr = 0.2;
        own.options.momentum = 0.5;
        optim::SGDOptions options;
        options.lr = 0.05;
        options.momentum = 0.9;
        options.nesterov = true;
        return std::make_unique<optim::SGD>(std::vector<optim::SGDGroup>{own, {std::move(second)}}, options);
      },
      [](optim::Optimizer& optimizer) { return std::make_unique<optim::CosineAnnealingLR>(optimizer, 20); });
}

TEST_CASE("learning rates of the schedulers") {
  namespace optim = ad::optim;
  const ad::StateDict numbers = golden("schedules");
  int count = 0;
  const auto check = [&](const std::string& name, const auto& make) {
    CAPTURE(name);
    optim::SGDGroup first{{ad::zeros({1}).requires_grad_()}}, second{{ad::zeros({1}).requires_grad_()}};
    first.options.lr = 0.1;
    second.options.lr = 0.025;
    optim::SGD optimizer({first, second});
    auto scheduler = make(optimizer);
    std::vector<Tensor> rates;
    for (int step = 0; step <= 40; ++step) {
      CHECK(scheduler.last_step() == step);
      rates.push_back(ad::tensor({optimizer.lr(0), optimizer.lr(1)}, ad::float64));
      scheduler.step();
    }
    CHECK(difference(ad::stack(rates), numbers.at(name)) < 1e-12);
    ++count;
  };
  using optim::Optimizer;
  check("step", [](Optimizer& o) { return optim::StepLR(o, 7); });
  check("step_half", [](Optimizer& o) { return optim::StepLR(o, 3, 0.5); });
  check("cosine", [](Optimizer& o) { return optim::CosineAnnealingLR(o, 15); });
  check("cosine_min", [](Optimizer& o) { return optim::CosineAnnealingLR(o, 40, 0.003); });
  optim::LRSchedulerOptions options;
  options.warmup_steps = 5;
  check("step_warmup", [&](Optimizer& o) { return optim::StepLR(o, 7, 0.1, options); });
  options = {8, 0.01};
  check("cosine_warmup", [&](Optimizer& o) { return optim::CosineAnnealingLR(o, 32, 1e-5, options); });
  CHECK(count == static_cast<int>(numbers.size()));
}
