// The workloads with adjoint. Each iteration has nodes of its own, of values made beforehand, and ends with the loss
// and all parameters, or all results, computed.
#include <adjoint/adjoint.hpp>

#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "../models.hpp"
#include "peer.hpp"
#include "workloads.hpp"

namespace ad = adjoint;
namespace nn = adjoint::nn;
using ad::Tensor;
using peers::Work;
using peers::Workload;

namespace {

// -- values -----------------------------------------------------------------------------------------------------------

ad::Dtype dtype_of(bool f64) { return f64 ? ad::float64 : ad::float32; }

Tensor normal(const peers::Sizes& shape, std::uint32_t stream, bool f64 = false) {
  const std::int64_t count = peers::count_of(shape);
  return f64 ? ad::from_blob(peers::normal<double>(count, stream).data(), ad::Shape(shape))
             : ad::from_blob(peers::normal<float>(count, stream).data(), ad::Shape(shape));
}
Tensor classes(const peers::Sizes& shape, std::int64_t limit, std::uint32_t stream) {
  return ad::from_blob(peers::classes(peers::count_of(shape), limit, stream).data(), ad::Shape(shape));
}

/// Tensors made beforehand, to be taken in turn as new nodes, so that nothing of an earlier iteration is found again.
class Pool {
 public:
  template <class Make>
  Pool(std::int64_t bytes, const Make& make) {
    for (int i = 0; i < peers::pool_size(bytes); ++i) entries_.push_back(make(static_cast<std::uint32_t>(i)));
  }
  Tensor next() { return entries_[turn_++ % entries_.size()].detach(); }

 private:
  std::vector<Tensor> entries_;
  std::size_t turn_ = 0;
};

/// Tensor number i of stream s: that of s + 64 i.
Pool normals(const peers::Sizes& shape, std::uint32_t stream, bool f64 = false) {
  return Pool(peers::count_of(shape) * (f64 ? 8 : 4), [&](auto i) { return normal(shape, stream + 64 * i, f64); });
}
/// As many as there are inputs of so many bytes.
Pool classes_of(std::int64_t bytes, const peers::Sizes& shape, std::int64_t limit, std::uint32_t stream) {
  return Pool(bytes, [&](auto i) { return classes(shape, limit, stream + 64 * i); });
}

void initialise(nn::ModuleBase& net) {
  const ad::NoGradGuard no_grad;
  for (auto& [name, parameter] : net.named_parameters()) {
    const peers::Sizes shape(parameter.shape().begin(), parameter.shape().end());
    Tensor cell = parameter;
    if (cell.dtype() == ad::float64) cell.set_(ad::from_blob(peers::initial<double>(name, shape).data(), cell.shape()));
    else cell.set_(ad::from_blob(peers::initial<float>(name, shape).data(), cell.shape()));
  }
}

// -- from a computation to a Work -------------------------------------------------------------------------------------

std::vector<double> numbers(double value) { return {value}; }
std::vector<double> numbers(const Tensor& tensor) {
  return tensor.dtype() == ad::float64 ? peers::numbers_of(tensor.data<double>(), tensor.numel())
                                       : peers::numbers_of(tensor.data<float>(), tensor.numel());
}

/// `compute` returns a range of what it computed: numbers, or tensors.
template <class Compute>
Work work(Compute compute) {
  const auto shared = std::make_shared<Compute>(std::move(compute));
  return {[shared] { (*shared)(); },
          [shared] {
            peers::Numbers result;
            for (const auto& value : (*shared)()) result.push_back(numbers(value));
            return result;
          }};
}

/// Whether the workload at hand looks at the loss before backward(), which computes the forward pass by itself.
bool looks_first = false;

/// A training step: `loss_of` takes the net and returns the loss of the next batch.
template <class Net, class Optimizer, class Options, class LossOf>
Work training(Net made, const Options& options, LossOf loss_of) {
  const auto net = std::make_shared<Net>(std::move(made));
  initialise(*net);
  const std::vector<Tensor> parameters = net->parameters();
  const auto optimizer = std::make_shared<Optimizer>(parameters, options);
  return work([net, parameters, optimizer, loss_of = std::move(loss_of), looks = looks_first]() mutable {
    optimizer->zero_grad();
    const Tensor loss = loss_of(*net);
    if (looks) loss.item<double>();
    loss.backward();
    optimizer->step();
    const double value = loss.item<double>();
    ad::eval(parameters);
    return std::array<double, 1>{value};
  });
}

template <class Net, class LossOf>
Work training_by_adam(Net net, LossOf loss_of) {
  return training<Net, ad::optim::Adam, ad::optim::AdamOptions>(std::move(net), {}, std::move(loss_of));
}
template <class Net, class LossOf>
Work training_by_sgd(Net net, const ad::optim::SGDOptions& options, LossOf loss_of) {
  return training<Net, ad::optim::SGD>(std::move(net), options, std::move(loss_of));
}

// -- operations -------------------------------------------------------------------------------------------------------

/// As somebody writes it who does not know gelu_tanh.
Tensor tanh_gelu(const Tensor& x) { return 0.5 * x * (1.0 + ad::tanh(0.7978845608 * (x + 0.044715 * x * x * x))); }

Work operation(const peers::Operation& op) {
  const std::int64_t columns = op.columns();
  Tensor weight, bias;
  if (op.kind == peers::Kind::layer_norm) {
    weight = normal({columns}, 10).requires_grad_(op.backward);
    bias = normal({columns}, 11).requires_grad_(op.backward);
  }
  const auto compute = [kind = op.kind, columns, weight, bias](const Tensor& x) {
    switch (kind) {
      case peers::Kind::softmax:
        return ad::softmax(x, -1);
      case peers::Kind::layer_norm:
        return ad::layer_norm(x, {columns}, weight, bias);
      case peers::Kind::gelu:
        return ad::gelu(x);
      case peers::Kind::tanh:
        return ad::tanh(x);
      default:
        return tanh_gelu(x);
    }
  };
  Pool inputs = normals(op.shape, 1, op.f64);
  if (op.kind == peers::Kind::cross_entropy) {
    Pool targets = classes_of(4 * peers::count_of(op.shape), {op.rows()}, columns, 2);
    return work([inputs, targets, backward = op.backward]() mutable {
      const Tensor x = inputs.next().requires_grad_(backward);
      const Tensor loss = nn::cross_entropy(x, targets.next());
      if (!backward) {
        ad::eval(loss);
        return std::vector<Tensor>{loss};
      }
      loss.backward();
      ad::eval(loss, x.grad());
      return std::vector<Tensor>{loss, x.grad()};
    });
  }
  if (!op.backward) {
    return work([inputs, compute]() mutable {
      const ad::NoGradGuard no_grad;
      const Tensor y = compute(inputs.next());
      ad::eval(y);
      return std::array<Tensor, 1>{y};
    });
  }
  Pool gradients = normals(op.shape, 3, op.f64);
  return work([inputs, gradients, compute, weight, bias]() mutable {
    const Tensor x = inputs.next().requires_grad_();
    const Tensor y = compute(x);
    y.backward(gradients.next());
    std::vector<Tensor> results{y, x.grad()};
    for (const Tensor& parameter : {weight, bias}) {
      if (!parameter.defined()) continue;
      results.push_back(parameter.grad());
      parameter.set_grad({});
    }
    ad::eval(results);
    return results;
  });
}

Work adam(const peers::AdamUpdate& sizes) {
  std::vector<Tensor> parameters;
  std::vector<Pool> gradients;
  for (std::int64_t i = 0; i < sizes.count; ++i) {
    const auto stream = static_cast<std::uint32_t>(1000 * i);
    parameters.push_back(normal({sizes.size}, stream + 1).requires_grad_());
    gradients.emplace_back(4 * sizes.size * sizes.count,
                           [&](auto j) { return normal({sizes.size}, stream + 2 + 64 * j); });
  }
  const auto optimizer = std::make_shared<ad::optim::Adam>(parameters);
  return work([parameters, gradients, optimizer]() mutable {
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].set_grad(gradients[i].next());
    optimizer->step();
    ad::eval(parameters);
    return std::array<Tensor, 2>{parameters.front(), parameters.back()};
  });
}

Tensor chain(Tensor x, const Tensor& y) {
  for (int i = 0; i < peers::kChainLength; ++i) x = ad::tanh(x * y + 0.5) - y;
  return x;
}

Work chain_forward() {
  return work([x = normals({8}, 1), y = normals({8}, 2)]() mutable {
    const ad::NoGradGuard no_grad;
    const Tensor result = chain(x.next(), y.next());
    ad::eval(result);
    return std::array<Tensor, 1>{result};
  });
}
Work chain_forward_backward() {
  return work([xs = normals({8}, 1), ys = normals({8}, 2), gradients = normals({8}, 3)]() mutable {
    const Tensor x = xs.next().requires_grad_();
    const Tensor result = chain(x, ys.next());
    result.backward(gradients.next());
    ad::eval(result, x.grad());
    return std::array<Tensor, 2>{result, x.grad()};
  });
}

/// A graph of seven operations on two numbers (Karpathy's micrograd; BurTorch, arXiv 2503.13795, measures it too).
Work scalar_graph() {
  return work([values = peers::normal(64, 1), turn = std::size_t{0}]() mutable {
    const Tensor a = ad::tensor(values[turn++ % 64]).requires_grad_();
    const Tensor b = ad::tensor(values[turn++ % 64]).requires_grad_();
    const Tensor g = ad::square((a + b) - (a * b + ad::pow(b, 3))) / 2.0;
    g.backward();
    return std::array<double, 3>{g.item<float>(), a.grad().item<float>(), b.grad().item<float>()};
  });
}

// -- networks ---------------------------------------------------------------------------------------------------------

Work mlp(const peers::Mlp& sizes) {
  nn::Sequential net;
  for (std::size_t i = 0; i + 1 < sizes.sizes.size(); ++i) {
    if (i > 0) net.push_back(nn::ReLU());
    net.push_back(nn::Linear(sizes.sizes[i], sizes.sizes[i + 1]));
  }
  net.to(dtype_of(sizes.f64));
  const std::int64_t in = sizes.sizes.front(), out = sizes.sizes.back();
  Pool inputs = normals({sizes.batch, in}, 1, sizes.f64);
  if (sizes.classifies) {
    Pool targets = classes_of(4 * sizes.batch * in, {sizes.batch}, out, 2);
    return training_by_adam(std::move(net), [inputs, targets](const nn::Sequential& model) mutable {
      return nn::cross_entropy(model(inputs.next()), targets.next());
    });
  }
  Pool targets = normals({sizes.batch, out}, 2, sizes.f64);
  return training_by_sgd(std::move(net), {.lr = 0.01}, [inputs, targets](const nn::Sequential& model) mutable {
    return nn::mse_loss(model(inputs.next()), targets.next());
  });
}

Work cnn() {
  nn::Sequential net(nn::Conv2d(1, 32, 3, {.padding = 1}), nn::ReLU(), nn::MaxPool2d(2),
                     nn::Conv2d(32, 64, 3, {.padding = 1}), nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(),
                     nn::Linear(64 * 7 * 7, 128), nn::ReLU(), nn::Linear(128, 10));
  return training_by_adam(
      std::move(net),
      [inputs = normals({64, 1, 28, 28}, 1), targets = classes_of(4 * 64 * 28 * 28, {64}, 10, 2)](
          const nn::Sequential& model) mutable { return nn::cross_entropy(model(inputs.next()), targets.next()); });
}

Work lstm(const peers::Lstm& s) {
  return training_by_adam(
      ad::bench::Lstm(s.in, s.hidden),
      [inputs = normals({s.length, s.batch, s.in}, 1), targets = normals({s.length, s.batch, s.hidden}, 2)](
          const ad::bench::Lstm& model) mutable { return nn::mse_loss(model(inputs.next()), targets.next()); });
}

Work encoder_layer() {
  const peers::EncoderLayer s;
  return training_by_adam(
      ad::bench::EncoderLayer(s.width, s.heads, s.feedforward),
      [inputs = normals({s.batch, s.length, s.width}, 1), targets = normals({s.batch, s.length, s.width}, 2)](
          const ad::bench::EncoderLayer& model) mutable { return nn::mse_loss(model(inputs.next()), targets.next()); });
}

struct CharTransformer : nn::Module<CharTransformer> {
  nn::Embedding tokens, positions;
  nn::ModuleList<ad::bench::EncoderLayer> layers;
  nn::Linear head;
  nn::Buffer mask;

  explicit CharTransformer(const peers::CharTransformer& s)
      : tokens(s.characters, s.width), positions(s.context, s.width), head(s.width, s.characters) {
    for (std::int64_t i = 0; i < s.layers; ++i) layers.emplace_back(s.width, s.heads, s.feedforward);
    mask = ad::triu(ad::full({s.context, s.context}, -std::numeric_limits<double>::infinity()), 1);
  }
  void members(nn::Members& m) {
    m("tokens", tokens)("positions", positions)("layers", layers)("head", head)("mask", mask);
  }
  Tensor forward(const Tensor& text) const {
    Tensor x = tokens(text) + positions.weight;
    for (const auto& layer : layers) x = layer(x, mask);
    return head(x);
  }
};

Work char_transformer() {
  const peers::CharTransformer s;
  const std::int64_t count = s.batch * s.context;
  return training_by_adam(CharTransformer(s), [inputs = classes_of(8 * count, {s.batch, s.context}, s.characters, 1),
                                               targets = classes_of(8 * count, {count}, s.characters, 2),
                                               s](const CharTransformer& model) mutable {
    return nn::cross_entropy(ad::reshape(model(inputs.next()), {-1, s.characters}), targets.next());
  });
}

struct ResidualBlock : nn::Module<ResidualBlock> {
  nn::Conv2d conv1, conv2;
  nn::BatchNorm2d norm1, norm2;
  std::optional<nn::Conv2d> shortcut;

  ResidualBlock(std::int64_t in, std::int64_t out, std::int64_t stride)
      : conv1(in, out, 3, {.stride = stride, .padding = 1, .bias = false}),
        conv2(out, out, 3, {.padding = 1, .bias = false}),
        norm1(out),
        norm2(out) {
    if (in != out) shortcut.emplace(in, out, 1, nn::Conv2dOptions{.stride = stride, .bias = false});
  }
  void members(nn::Members& m) {
    m("conv1", conv1)("norm1", norm1)("conv2", conv2)("norm2", norm2)("shortcut", shortcut);
  }
  Tensor forward(const Tensor& x) const {
    const Tensor y = norm2(conv2(ad::relu(norm1(conv1(x)))));
    return ad::relu(y + (shortcut ? (*shortcut)(x) : x));
  }
};

struct ResNet20 : nn::Module<ResNet20> {
  nn::Conv2d stem;
  nn::BatchNorm2d norm;
  nn::ModuleList<ResidualBlock> blocks;
  nn::Linear head;

  explicit ResNet20(const peers::ResNet20& s)
      : stem(3, s.width, 3, {.padding = 1, .bias = false}), norm(s.width), head(4 * s.width, 10) {
    std::int64_t in = s.width;
    for (const std::int64_t out : {s.width, 2 * s.width, 4 * s.width}) {
      for (std::int64_t i = 0; i < s.blocks_per_stage; ++i, in = out) blocks.emplace_back(in, out, in == out ? 1 : 2);
    }
  }
  void members(nn::Members& m) { m("stem", stem)("norm", norm)("blocks", blocks)("head", head); }
  Tensor forward(const Tensor& images) const {
    Tensor x = ad::relu(norm(stem(images)));
    for (const ResidualBlock& block : blocks) x = block(x);
    return head(ad::mean(x, {2, 3}));
  }
};

Work resnet20() {
  const peers::ResNet20 s;
  return training_by_sgd(
      ResNet20(s), {.lr = 0.01, .momentum = 0.9, .weight_decay = 1e-4},
      [inputs = normals({s.batch, 3, 32, 32}, 1), targets = classes_of(4 * s.batch * 3 * 32 * 32, {s.batch}, 10, 2)](
          const ResNet20& model) mutable { return nn::cross_entropy(model(inputs.next()), targets.next()); });
}

struct Tagger : nn::Module<Tagger> {
  nn::Embedding words;
  ad::bench::Lstm lstm;
  nn::Linear head;

  explicit Tagger(const peers::Lengths& s)
      : words(s.words, s.width), lstm(s.width, s.hidden), head(s.hidden, s.classes) {}
  void members(nn::Members& m) { m("words", words)("lstm", lstm)("head", head); }
  Tensor forward(const Tensor& text) const { return head(lstm(words(text))); }
};

Work lengths(const std::vector<int>& of_batches) {
  const peers::Lengths s;
  const auto net = std::make_shared<Tagger>(s);
  initialise(*net);
  const std::vector<Tensor> parameters = net->parameters();
  const auto optimizer = std::make_shared<ad::optim::Adam>(parameters);
  std::vector<std::pair<Tensor, Tensor>> batches;
  std::vector<int> order;
  for (const int length : of_batches) {
    const auto i = static_cast<std::uint32_t>(order.size());
    batches.emplace_back(classes({length, s.batch}, s.words, 1 + 64 * i),
                         classes({length * s.batch}, s.classes, 2 + 64 * i));
    order.push_back(static_cast<int>(i));
  }
  return work([=, choices = peers::Choices()]() mutable {
    peers::Lengths::shuffle(order, choices);
    double total = 0;
    for (const int i : order) {
      const auto& [text, tags] = batches[static_cast<std::size_t>(i)];
      optimizer->zero_grad();
      const Tensor loss = nn::cross_entropy(ad::reshape((*net)(text.detach()), {-1, s.classes}), tags.detach());
      loss.backward();
      optimizer->step();
      total += loss.item<double>();
      ad::eval(parameters);
    }
    return std::array<double, 1>{total};
  });
}

struct TreeNet : nn::Module<TreeNet> {
  nn::Embedding words;
  nn::Linear join, head;

  explicit TreeNet(const peers::Tree& s)
      : words(s.words, s.width), join(2 * s.width, s.width), head(s.width, s.classes) {}
  void members(nn::Members& m) { m("words", words)("join", join)("head", head); }
  Tensor forward(const Tensor& text, peers::Choices& choices) const {
    const ad::TensorList leaves = ad::split(words(text), 1);
    return head(peers::Tree::fold<Tensor>(
        choices, 0, static_cast<int>(text.size(0)), [&](int i) { return leaves[static_cast<std::size_t>(i)]; },
        [&](const Tensor& left, const Tensor& right) {
          return ad::tanh(join(ad::cat({left, right}, 1)));
        }));
  }
};

Work tree() {
  const peers::Tree s;
  return training_by_sgd(
      TreeNet(s), {.lr = 0.01},
      [inputs = classes_of(8 * s.leaves, {s.leaves}, s.words, 1), targets = classes_of(8 * s.leaves, {1}, s.classes, 2),
       choices = peers::Choices()](const TreeNet& model) mutable {
        return nn::cross_entropy(model(inputs.next(), choices), targets.next());
      });
}

peers::Peer peer() {
  peers::Peer result;
  result.name = "adjoint";
  result.version = ADJOINT_VERSION_STRING;
  result.set_threads = ad::set_num_threads;
  const auto add = [&](std::string name, std::function<Work()> make, std::int64_t bytes = 0) {
    result.workloads.push_back(
        {std::move(name), [make = std::move(make)](const std::string&) { return make(); }, bytes});
  };
  for (const auto& sizes : peers::kMlps) add(sizes.name, [&sizes] { return mlp(sizes); });
  add("step/cnn_28x28", cnn);
  const auto add_looking = [&](std::string name, std::function<Work()> make) {
    add(std::move(name), [make = std::move(make)] {
      looks_first = true;
      Work made = make();
      looks_first = false;
      return made;
    });
  };
  add_looking("step_looking/mlp_784_256_256_10", [] { return mlp(peers::kMlps[1]); });
  add_looking("step_looking/cnn_28x28", cnn);
  add_looking("step_looking/transformer_layer", encoder_layer);
  for (const auto& sizes : peers::kLstms) add(sizes.name, [&sizes] { return lstm(sizes); });
  add("step/transformer_layer", encoder_layer);
  add("step/char_transformer", char_transformer);
  add("step/resnet20", resnet20);
  add("step/tree", tree);
  add("epoch/length_40", [] { return lengths(peers::Lengths::fixed()); });
  add("epoch/length_20_to_60", [] { return lengths(peers::Lengths::varying()); });
  add("scalar_graph", scalar_graph);
  add("chain_100/forward", chain_forward);
  add("chain_100/forward_backward", chain_forward_backward);
  for (const auto& op : peers::operations())
    add(
        op.name(), [op] { return operation(op); }, op.bytes());
  for (const auto& sizes : peers::kAdamUpdates)
    add(
        sizes.name(), [&sizes] { return adam(sizes); }, sizes.bytes());
  return result;
}

}  // namespace

int main(int argc, char** argv) { return peers::run(argc, argv, peer); }
