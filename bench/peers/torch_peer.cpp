// The workloads with LibTorch, as one writes them with its layers and at its best settings: no gradients recorded where
// none are wanted, cleared ones made undefined, and what may be done in two ways measured in both. Compiles with
// LibTorch 1.13 and with those of today.
#include <torch/torch.h>

#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "peer.hpp"
#include "workloads.hpp"

namespace F = torch::nn::functional;
using peers::Work;
using peers::Workload;
using torch::Tensor;

namespace {

// -- values -----------------------------------------------------------------------------------------------------------

Tensor normal(const peers::Sizes& shape, std::uint32_t stream, bool f64 = false) {
  const std::int64_t count = peers::count_of(shape);
  if (f64) {
    auto values = peers::normal<double>(count, stream);
    return torch::from_blob(values.data(), shape, torch::kFloat64).clone();
  }
  auto values = peers::normal<float>(count, stream);
  return torch::from_blob(values.data(), shape, torch::kFloat32).clone();
}
Tensor classes(const peers::Sizes& shape, std::int64_t limit, std::uint32_t stream) {
  auto values = peers::classes(peers::count_of(shape), limit, stream);
  return torch::from_blob(values.data(), shape, torch::kInt64).clone();
}

/// Tensors made beforehand, to be taken in turn.
class Pool {
 public:
  template <class Make>
  Pool(std::int64_t bytes, const Make& make) {
    for (int i = 0; i < peers::pool_size(bytes); ++i) entries_.push_back(make(static_cast<std::uint32_t>(i)));
  }
  Tensor next() { return entries_[turn_++ % entries_.size()]; }

 private:
  std::vector<Tensor> entries_;
  std::size_t turn_ = 0;
};

Pool normals(const peers::Sizes& shape, std::uint32_t stream, bool f64 = false) {
  return Pool(peers::count_of(shape) * (f64 ? 8 : 4), [&](auto i) { return normal(shape, stream + 64 * i, f64); });
}
Pool classes_of(std::int64_t bytes, const peers::Sizes& shape, std::int64_t limit, std::uint32_t stream) {
  return Pool(bytes, [&](auto i) { return classes(shape, limit, stream + 64 * i); });
}

void initialise(torch::nn::Module& net) {
  torch::NoGradGuard no_grad;
  for (auto& entry : net.named_parameters()) {
    Tensor& parameter = entry.value();
    const peers::Sizes shape = parameter.sizes().vec();
    if (parameter.scalar_type() == torch::kFloat64) {
      auto values = peers::initial<double>(entry.key(), shape);
      parameter.copy_(torch::from_blob(values.data(), shape, torch::kFloat64));
    } else {
      auto values = peers::initial<float>(entry.key(), shape);
      parameter.copy_(torch::from_blob(values.data(), shape, torch::kFloat32));
    }
  }
}

// -- from a computation to a Work -------------------------------------------------------------------------------------

std::vector<double> numbers(double value) { return {value}; }
std::vector<double> numbers(const Tensor& tensor) {
  const Tensor values = tensor.detach().contiguous();
  return values.scalar_type() == torch::kFloat64 ? peers::numbers_of(values.data_ptr<double>(), values.numel())
                                                 : peers::numbers_of(values.data_ptr<float>(), values.numel());
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

/// Makes the gradients undefined, which zero_grad() of LibTorch 1.13 does not.
void clear_gradients(std::vector<Tensor>& parameters) {
  for (Tensor& parameter : parameters) parameter.mutable_grad().reset();
}

/// A training step: `loss_of` takes the net and returns the loss of the next batch.
template <class Optimizer, class Options, class Net, class LossOf>
Work training(Net net, const Options& options, LossOf loss_of) {
  initialise(*net);
  std::vector<Tensor> parameters = net->parameters();
  const auto optimizer = std::make_shared<Optimizer>(parameters, options);
  return work([net, parameters, optimizer, loss_of = std::move(loss_of)]() mutable {
    clear_gradients(parameters);
    const Tensor loss = loss_of(net);
    loss.backward();
    optimizer->step();
    return std::array<double, 1>{loss.template item<double>()};
  });
}

template <class Net, class LossOf>
Work training_by_adam(Net net, LossOf loss_of) {
  return training<torch::optim::Adam>(std::move(net), torch::optim::AdamOptions(), std::move(loss_of));
}
template <class Net, class LossOf>
Work training_by_sgd(Net net, const torch::optim::SGDOptions& options, LossOf loss_of) {
  return training<torch::optim::SGD>(std::move(net), options, std::move(loss_of));
}

// -- operations -------------------------------------------------------------------------------------------------------

/// As somebody writes it who does not know gelu's own.
Tensor tanh_gelu(const Tensor& x) { return 0.5 * x * (1.0 + torch::tanh(0.7978845608 * (x + 0.044715 * x * x * x))); }

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
        return torch::softmax(x, -1);
      case peers::Kind::layer_norm:
        return torch::layer_norm(x, {columns}, weight, bias);
      case peers::Kind::gelu:
        return torch::gelu(x);
      case peers::Kind::tanh:
        return torch::tanh(x);
      default:
        return tanh_gelu(x);
    }
  };
  Pool inputs = normals(op.shape, 1, op.f64);
  if (op.kind == peers::Kind::cross_entropy) {
    Pool targets = classes_of(4 * peers::count_of(op.shape), {op.rows()}, columns, 2);
    if (!op.backward) {
      return work([inputs, targets]() mutable {
        c10::InferenceMode guard;
        return std::array<Tensor, 1>{F::cross_entropy(inputs.next(), targets.next())};
      });
    }
    return work([inputs, targets]() mutable {
      const Tensor x = inputs.next().detach().requires_grad_();
      const Tensor loss = F::cross_entropy(x, targets.next());
      loss.backward();
      return std::array<Tensor, 2>{loss, x.grad()};
    });
  }
  if (!op.backward) {
    return work([inputs, compute]() mutable {
      c10::InferenceMode guard;
      return std::array<Tensor, 1>{compute(inputs.next())};
    });
  }
  Pool gradients = normals(op.shape, 3, op.f64);
  return work([inputs, gradients, compute, weight, bias]() mutable {
    const Tensor x = inputs.next().detach().requires_grad_();
    const Tensor y = compute(x);
    y.backward(gradients.next());
    std::vector<Tensor> results{y, x.grad()};
    for (Tensor* parameter : {&weight, &bias}) {
      if (!parameter->defined()) continue;
      results.push_back(parameter->grad());
      parameter->mutable_grad().reset();
    }
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
  const auto optimizer = std::make_shared<torch::optim::Adam>(parameters, torch::optim::AdamOptions());
  return work([parameters, gradients, optimizer]() mutable {
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].mutable_grad() = gradients[i].next();
    optimizer->step();
    return std::array<Tensor, 2>{parameters.front(), parameters.back()};
  });
}

Tensor chain(Tensor x, const Tensor& y) {
  for (int i = 0; i < peers::kChainLength; ++i) x = torch::tanh(x * y + 0.5) - y;
  return x;
}

Work chain_forward() {
  return work([x = normals({8}, 1), y = normals({8}, 2)]() mutable {
    c10::InferenceMode guard;
    return std::array<Tensor, 1>{chain(x.next(), y.next())};
  });
}
Work chain_forward_backward() {
  return work([xs = normals({8}, 1), ys = normals({8}, 2), gradients = normals({8}, 3)]() mutable {
    const Tensor x = xs.next().detach().requires_grad_();
    const Tensor result = chain(x, ys.next());
    result.backward(gradients.next());
    return std::array<Tensor, 2>{result, x.grad()};
  });
}

Work scalar_graph() {
  return work([values = peers::normal(64, 1), turn = std::size_t{0}]() mutable {
    const auto options = torch::TensorOptions(torch::kFloat32).requires_grad(true);
    const Tensor a = torch::scalar_tensor(values[turn++ % 64], options);
    const Tensor b = torch::scalar_tensor(values[turn++ % 64], options);
    const Tensor g = torch::square((a + b) - (a * b + torch::pow(b, 3))) / 2.0;
    g.backward();
    return std::array<double, 3>{g.item<float>(), a.grad().item<float>(), b.grad().item<float>()};
  });
}

// -- networks ---------------------------------------------------------------------------------------------------------

Work mlp(const peers::Mlp& sizes) {
  torch::nn::Sequential net;
  for (std::size_t i = 0; i + 1 < sizes.sizes.size(); ++i) {
    if (i > 0) net->push_back(torch::nn::ReLU());
    net->push_back(torch::nn::Linear(sizes.sizes[i], sizes.sizes[i + 1]));
  }
  if (sizes.f64) net->to(torch::kFloat64);
  const std::int64_t in = sizes.sizes.front(), out = sizes.sizes.back();
  Pool inputs = normals({sizes.batch, in}, 1, sizes.f64);
  if (sizes.classifies) {
    Pool targets = classes_of(4 * sizes.batch * in, {sizes.batch}, out, 2);
    return training_by_adam(net, [inputs, targets](torch::nn::Sequential& model) mutable {
      return F::cross_entropy(model->forward(inputs.next()), targets.next());
    });
  }
  Pool targets = normals({sizes.batch, out}, 2, sizes.f64);
  return training_by_sgd(net, torch::optim::SGDOptions(0.01), [inputs, targets](torch::nn::Sequential& model) mutable {
    return F::mse_loss(model->forward(inputs.next()), targets.next());
  });
}

/// How images lie in memory: "contiguous" or "channels_last".
torch::MemoryFormat format_of(const std::string& setting) {
  return setting == "channels_last" ? torch::MemoryFormat::ChannelsLast : torch::MemoryFormat::Contiguous;
}
void lay_out(torch::nn::Module& net, torch::MemoryFormat format) {
  for (Tensor& parameter : net.parameters())
    if (parameter.dim() == 4) parameter.set_data(parameter.detach().contiguous(format));
}
Pool images(const peers::Sizes& shape, std::uint32_t stream, torch::MemoryFormat format) {
  return Pool(4 * peers::count_of(shape), [&](auto i) { return normal(shape, stream + 64 * i).contiguous(format); });
}

Work cnn(const std::string& setting) {
  namespace nn = torch::nn;
  nn::Sequential net(nn::Conv2d(nn::Conv2dOptions(1, 32, 3).padding(1)), nn::ReLU(), nn::MaxPool2d(2),
                     nn::Conv2d(nn::Conv2dOptions(32, 64, 3).padding(1)), nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(),
                     nn::Linear(64 * 7 * 7, 128), nn::ReLU(), nn::Linear(128, 10));
  lay_out(*net, format_of(setting));
  return training_by_adam(net, [inputs = images({64, 1, 28, 28}, 1, format_of(setting)),
                                targets = classes_of(4 * 64 * 28 * 28, {64}, 10, 2)](nn::Sequential& model) mutable {
    return F::cross_entropy(model->forward(inputs.next()), targets.next());
  });
}

Work lstm(const peers::Lstm& s) {
  return training_by_adam(torch::nn::LSTM(torch::nn::LSTMOptions(s.in, s.hidden)),
                          [inputs = normals({s.length, s.batch, s.in}, 1),
                           targets = normals({s.length, s.batch, s.hidden}, 2)](torch::nn::LSTM& model) mutable {
                            return F::mse_loss(std::get<0>(model->forward(inputs.next())), targets.next());
                          });
}

/// A layer of the encoder of one's own on the fused attention that LibTorch has since 2.0: [N, T, width]. The names are
/// those of torch::nn::TransformerEncoderLayer.
#if TORCH_VERSION_MAJOR >= 2
struct FusedAttentionImpl : torch::nn::Module {
  Tensor in_proj_weight, in_proj_bias;
  torch::nn::Linear out_proj{nullptr};
  std::int64_t heads;

  FusedAttentionImpl(std::int64_t width, std::int64_t heads_) : heads(heads_) {
    in_proj_weight = register_parameter("in_proj_weight", torch::zeros({3 * width, width}));
    in_proj_bias = register_parameter("in_proj_bias", torch::zeros({3 * width}));
    out_proj = register_module("out_proj", torch::nn::Linear(width, width));
  }
  Tensor forward(const Tensor& x, bool causal) {
    const auto qkv = torch::linear(x, in_proj_weight, in_proj_bias).chunk(3, -1);
    const auto split = [&](const Tensor& part) { return part.unflatten(-1, {heads, -1}).transpose(1, 2); };
    const Tensor y = at::scaled_dot_product_attention(split(qkv[0]), split(qkv[1]), split(qkv[2]), {}, 0.0, causal);
    return out_proj(y.transpose(1, 2).flatten(2));
  }
};
TORCH_MODULE(FusedAttention);

struct FusedEncoderLayerImpl : torch::nn::Module {
  FusedAttention self_attn{nullptr};
  torch::nn::Linear linear1{nullptr}, linear2{nullptr};
  torch::nn::LayerNorm norm1{nullptr}, norm2{nullptr};

  FusedEncoderLayerImpl(std::int64_t width, std::int64_t heads, std::int64_t feedforward) {
    self_attn = register_module("self_attn", FusedAttention(width, heads));
    linear1 = register_module("linear1", torch::nn::Linear(width, feedforward));
    linear2 = register_module("linear2", torch::nn::Linear(feedforward, width));
    norm1 = register_module("norm1", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})));
    norm2 = register_module("norm2", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})));
  }
  Tensor forward(const Tensor& x, bool causal) {
    const Tensor y = norm1(x + self_attn(x, causal));
    return norm2(y + linear2(torch::relu(linear1(y))));
  }
};
TORCH_MODULE(FusedEncoderLayer);
const std::vector<std::string> kAttentions = {"TransformerEncoderLayer", "scaled_dot_product_attention"};
#else
const std::vector<std::string> kAttentions = {"TransformerEncoderLayer"};
#endif

/// Layers of an encoder, by LibTorch's class or by the one above, on [N, T, width].
struct EncoderImpl : torch::nn::Module {
  torch::nn::ModuleList layers;
  bool fused;

  EncoderImpl(std::int64_t count, std::int64_t width, std::int64_t heads, std::int64_t feedforward, bool fused_)
      : fused(fused_) {
    for (std::int64_t i = 0; i < count; ++i) {
#if TORCH_VERSION_MAJOR >= 2
      if (fused) {
        layers->push_back(FusedEncoderLayer(width, heads, feedforward));
        continue;
      }
#endif
      layers->push_back(torch::nn::TransformerEncoderLayer(
          torch::nn::TransformerEncoderLayerOptions(width, heads).dim_feedforward(feedforward).dropout(0)));
    }
    register_module("layers", layers);
  }
  /// With a mask each place sees only those before it.
  Tensor forward(Tensor x, const Tensor& mask) {
#if TORCH_VERSION_MAJOR >= 2
    if (fused) {
      for (const auto& layer : *layers) x = layer->as<FusedEncoderLayer>()->forward(x, mask.defined());
      return x;
    }
#endif
    x = x.transpose(0, 1);
    for (const auto& layer : *layers) x = layer->as<torch::nn::TransformerEncoderLayer>()->forward(x, mask);
    return x.transpose(0, 1);
  }
};
TORCH_MODULE(Encoder);

Work encoder_layer([[maybe_unused]] const std::string& setting) {
  const peers::EncoderLayer s;
  Pool inputs = normals({s.batch, s.length, s.width}, 1), targets = normals({s.batch, s.length, s.width}, 2);
#if TORCH_VERSION_MAJOR >= 2
  if (setting != kAttentions[0]) {
    return training_by_adam(FusedEncoderLayer(s.width, s.heads, s.feedforward),
                            [inputs, targets](FusedEncoderLayer& model) mutable {
                              return F::mse_loss(model->forward(inputs.next(), false), targets.next());
                            });
  }
#endif
  // The layer takes [T, N, width]: inputs and targets lie so beforehand.
  const auto transposed = [&](Pool& pool) {
    return Pool(4 * s.batch * s.length * s.width, [&](auto) { return pool.next().transpose(0, 1).contiguous(); });
  };
  return training_by_adam(
      torch::nn::TransformerEncoderLayer(
          torch::nn::TransformerEncoderLayerOptions(s.width, s.heads).dim_feedforward(s.feedforward).dropout(0)),
      [inputs = transposed(inputs), targets = transposed(targets)](torch::nn::TransformerEncoderLayer& model) mutable {
        return F::mse_loss(model->forward(inputs.next()), targets.next());
      });
}

struct CharTransformerImpl : torch::nn::Module {
  torch::nn::Embedding tokens{nullptr}, positions{nullptr};
  torch::nn::ModuleList layers;
  Encoder encoder{nullptr};
  torch::nn::Linear head{nullptr};
  Tensor mask;

  CharTransformerImpl(const peers::CharTransformer& s, bool fused)
      : encoder(s.layers, s.width, s.heads, s.feedforward, fused) {
    tokens = register_module("tokens", torch::nn::Embedding(s.characters, s.width));
    positions = register_module("positions", torch::nn::Embedding(s.context, s.width));
    register_module("layers", encoder->layers);
    head = register_module("head", torch::nn::Linear(s.width, s.characters));
    mask = torch::full({s.context, s.context}, -std::numeric_limits<float>::infinity()).triu(1);
  }
  Tensor forward(const Tensor& text) { return head(encoder(tokens(text) + positions->weight, mask)); }
};
TORCH_MODULE(CharTransformer);

Work char_transformer(const std::string& setting) {
  const peers::CharTransformer s;
  const std::int64_t count = s.batch * s.context;
  return training_by_adam(
      CharTransformer(s, setting != kAttentions[0]),
      [inputs = classes_of(8 * count, {s.batch, s.context}, s.characters, 1),
       targets = classes_of(8 * count, {count}, s.characters, 2), s](CharTransformer& model) mutable {
        return F::cross_entropy(model->forward(inputs.next()).reshape({-1, s.characters}), targets.next());
      });
}

torch::nn::Conv2d convolution(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
}

struct ResidualBlockImpl : torch::nn::Module {
  torch::nn::Conv2d conv1, conv2, shortcut{nullptr};
  torch::nn::BatchNorm2d norm1, norm2;

  ResidualBlockImpl(std::int64_t in, std::int64_t out, std::int64_t stride)
      : conv1(convolution(in, out, 3, stride)), conv2(convolution(out, out, 3, 1)), norm1(out), norm2(out) {
    register_module("conv1", conv1);
    register_module("norm1", norm1);
    register_module("conv2", conv2);
    register_module("norm2", norm2);
    if (in != out) shortcut = register_module("shortcut", convolution(in, out, 1, stride));
  }
  Tensor forward(const Tensor& x) {
    const Tensor y = norm2(conv2(norm1(conv1(x)).relu_()));
    return torch::relu(y + (shortcut ? shortcut(x) : x));
  }
};
TORCH_MODULE(ResidualBlock);

struct ResNet20Impl : torch::nn::Module {
  torch::nn::Conv2d stem;
  torch::nn::BatchNorm2d norm;
  torch::nn::Sequential blocks;
  torch::nn::Linear head;

  explicit ResNet20Impl(const peers::ResNet20& s)
      : stem(convolution(3, s.width, 3, 1)), norm(s.width), head(4 * s.width, 10) {
    std::int64_t in = s.width;
    for (const std::int64_t out : {s.width, 2 * s.width, 4 * s.width}) {
      for (std::int64_t i = 0; i < s.blocks_per_stage; ++i, in = out)
        blocks->push_back(ResidualBlock(in, out, in == out ? 1 : 2));
    }
    register_module("stem", stem);
    register_module("norm", norm);
    register_module("blocks", blocks);
    register_module("head", head);
  }
  Tensor forward(const Tensor& x) { return head(blocks->forward(norm(stem(x)).relu_()).mean(at::IntArrayRef({2, 3}))); }
};
TORCH_MODULE(ResNet20);

Work resnet20(const std::string& setting) {
  const peers::ResNet20 s;
  ResNet20 net(s);
  lay_out(*net, format_of(setting));
  return training_by_sgd(net, torch::optim::SGDOptions(0.01).momentum(0.9).weight_decay(1e-4),
                         [inputs = images({s.batch, 3, 32, 32}, 1, format_of(setting)),
                          targets = classes_of(4 * s.batch * 3 * 32 * 32, {s.batch}, 10, 2)](ResNet20& model) mutable {
                           return F::cross_entropy(model->forward(inputs.next()), targets.next());
                         });
}

struct TaggerImpl : torch::nn::Module {
  torch::nn::Embedding words;
  torch::nn::LSTM lstm;
  torch::nn::Linear head;

  explicit TaggerImpl(const peers::Lengths& s)
      : words(s.words, s.width), lstm(s.width, s.hidden), head(s.hidden, s.classes) {
    register_module("words", words);
    register_module("lstm", lstm);
    register_module("head", head);
  }
  Tensor forward(const Tensor& text) { return head(std::get<0>(lstm(words(text)))); }
};
TORCH_MODULE(Tagger);

Work lengths(const std::vector<int>& of_batches) {
  const peers::Lengths s;
  Tagger net(s);
  initialise(*net);
  std::vector<Tensor> parameters = net->parameters();
  const auto optimizer = std::make_shared<torch::optim::Adam>(parameters, torch::optim::AdamOptions());
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
      clear_gradients(parameters);
      const Tensor loss = F::cross_entropy(net->forward(text).reshape({-1, s.classes}), tags);
      loss.backward();
      optimizer->step();
      total += loss.item<double>();
    }
    return std::array<double, 1>{total};
  });
}

struct TreeNetImpl : torch::nn::Module {
  torch::nn::Embedding words;
  torch::nn::Linear join, head;

  explicit TreeNetImpl(const peers::Tree& s)
      : words(s.words, s.width), join(2 * s.width, s.width), head(s.width, s.classes) {
    register_module("words", words);
    register_module("join", join);
    register_module("head", head);
  }
  Tensor forward(const Tensor& text, peers::Choices& choices) {
    // All leaves at once: split() has one derivative for all of them.
    const std::vector<Tensor> leaves = words(text).split(1);
    return head(peers::Tree::fold<Tensor>(
        choices, 0, static_cast<int>(text.size(0)), [&](int i) { return leaves[static_cast<std::size_t>(i)]; },
        [&](const Tensor& left, const Tensor& right) {
          return torch::tanh(join(torch::cat({left, right}, 1)));
        }));
  }
};
TORCH_MODULE(TreeNet);

Work tree() {
  const peers::Tree s;
  return training_by_sgd(
      TreeNet(s), torch::optim::SGDOptions(0.01),
      [inputs = classes_of(8 * s.leaves, {s.leaves}, s.words, 1), targets = classes_of(8 * s.leaves, {1}, s.classes, 2),
       choices = peers::Choices()](TreeNet& model) mutable {
        return F::cross_entropy(model->forward(inputs.next(), choices), targets.next());
      });
}

peers::Peer peer() {
  peers::Peer result;
  result.name = "torch";
  result.version = std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR) + "." +
                   std::to_string(TORCH_VERSION_PATCH);
  result.about.emplace_back("configuration", torch::show_config());
#if TORCH_VERSION_MAJOR >= 2
  result.about.emplace_back("capability", at::get_cpu_capability());
#endif
  result.set_threads = [](int threads) {
    at::set_num_threads(threads);
    at::set_num_interop_threads(1);
  };
  const auto add = [&](std::string name, std::function<Work()> make, std::int64_t bytes = 0) {
    result.workloads.push_back(
        {std::move(name), [make = std::move(make)](const std::string&) { return make(); }, bytes, {""}});
  };
  const std::vector<std::string> formats = {"contiguous", "channels_last"};
  for (const auto& sizes : peers::kMlps) add(sizes.name, [&sizes] { return mlp(sizes); });
  result.workloads.push_back({"step/cnn_28x28", cnn, 0, formats});
  for (const auto& sizes : peers::kLstms) add(sizes.name, [&sizes] { return lstm(sizes); });
  result.workloads.push_back({"step/transformer_layer", encoder_layer, 0, kAttentions});
  result.workloads.push_back({"step/char_transformer", char_transformer, 0, kAttentions});
  result.workloads.push_back({"step/resnet20", resnet20, 0, formats});
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
