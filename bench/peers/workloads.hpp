// What is measured: names and sizes of the workloads, and the numbers that they start from, which are the same in every
// program. docs/performance.md says what each one is.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace peers {

using Sizes = std::vector<std::int64_t>;

inline std::int64_t count_of(const Sizes& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, [](auto a, auto b) { return a * b; });
}

// -- numbers ----------------------------------------------------------------------------------------------------------

/// A mixture of two integers (the finaliser of MurmurHash3 twice).
inline std::uint32_t mixed(std::uint32_t a, std::uint32_t b) {
  const auto mix = [](std::uint32_t x) {
    x = (x ^ (x >> 16)) * 0x85ebca6bu;
    x = (x ^ (x >> 13)) * 0xc2b2ae35u;
    return x ^ (x >> 16);
  };
  return mix(mix(a * 0x9e3779b9u + 1) ^ b);
}

/// Nearly normal deviates, of variance 1 and below 3.5 in size: a sum of four uniform ones. `stream` tells one tensor's
/// numbers from another's.
template <class T = float>
std::vector<T> normal(std::int64_t count, std::uint32_t stream) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint32_t a = mixed(2 * stream, static_cast<std::uint32_t>(i));
    const std::uint32_t b = mixed(2 * stream + 1, static_cast<std::uint32_t>(i));
    const auto sum = static_cast<std::int32_t>((a & 0xffff) + (a >> 16) + (b & 0xffff) + (b >> 16)) - 131070;
    values[i] = static_cast<T>(static_cast<float>(sum) * (1.7320508f / 65536));
  }
  return values;
}

/// Integers in [0, limit).
inline std::vector<std::int64_t> classes(std::int64_t count, std::int64_t limit, std::uint32_t stream) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = mixed(2 * stream, static_cast<std::uint32_t>(i)) % static_cast<std::uint32_t>(limit);
  return values;
}

/// What a parameter starts from: weights of variance 1 / inputs, those of a normalisation 1, biases a tenth.
template <class T = float>
std::vector<T> initial(const std::string& name, const Sizes& shape) {
  std::uint32_t stream = 2166136261u;
  for (const char c : name) stream = (stream ^ static_cast<unsigned char>(c)) * 16777619u;
  std::vector<T> values = normal<T>(count_of(shape), stream);
  const bool is_bias = name.find("bias") != std::string::npos;
  const double inputs = shape.size() > 1 ? static_cast<double>(count_of(shape) / shape[0]) : 1;
  const T scale = is_bias ? T(0.1) : static_cast<T>(1 / std::sqrt(inputs));
  for (T& value : values) value = shape.size() == 1 && !is_bias ? T(1) : value * scale;
  return values;
}

/// How many different inputs a workload takes in turn: some, but few when they are large, since they count as memory.
inline int pool_size(std::int64_t bytes) {
  return static_cast<int>(std::clamp<std::int64_t>((2 << 20) / std::max<std::int64_t>(bytes, 1), 2, 16));
}

/// Choices that go on, for what must never repeat.
class Choices {
 public:
  /// In [0, limit).
  int below(int limit) { return static_cast<int>(mixed(77, turn_++) % static_cast<std::uint32_t>(limit)); }

 private:
  std::uint32_t turn_ = 0;
};

// -- operations -------------------------------------------------------------------------------------------------------

enum class Kind { softmax, layer_norm, gelu, tanh, gelu_tanh, cross_entropy };

/// An operation on a tensor; with `backward` also the gradients of what it reads, for a gradient that is given (for
/// the cross-entropy, 1). Rows are along the last dim.
struct Operation {
  Kind kind;
  Sizes shape;
  bool backward;
  bool f64 = false;

  std::int64_t columns() const { return shape.back(); }
  std::int64_t rows() const { return count_of(shape) / columns(); }
  std::string name() const {
    static const char* const kinds[] = {"softmax", "layer_norm", "gelu", "tanh", "gelu_tanh", "cross_entropy"};
    std::string result = std::string(kinds[static_cast<int>(kind)]) + (f64 ? "_f64/" : "/");
    for (std::size_t i = 0; i < shape.size(); ++i) result += (i > 0 ? "x" : "") + std::to_string(shape[i]);
    return result + (backward ? "/forward_backward" : "/forward");
  }
  /// What must be read and written at the least: each input and each result once.
  std::int64_t bytes() const {
    const std::int64_t tensors = kind == Kind::cross_entropy ? 1 + backward : 2 + 2 * backward;
    return tensors * count_of(shape) * (f64 ? 8 : 4);
  }
};

inline std::vector<Operation> operations() {
  std::vector<Operation> result;
  for (const bool backward : {false, true}) {
    for (const Kind kind : {Kind::softmax, Kind::layer_norm, Kind::gelu, Kind::tanh, Kind::gelu_tanh})
      result.push_back({kind, {1024, 1024}, backward});
    result.push_back({Kind::softmax, {16, 384, 384}, backward});
    for (const Kind kind : {Kind::layer_norm, Kind::gelu, Kind::cross_entropy})
      for (const Sizes& shape : {Sizes{4096, 768}, Sizes{512, 50257}}) result.push_back({kind, shape, backward});
    result.push_back({Kind::softmax, {1024, 1024}, backward, true});
  }
  return result;
}

/// Updates of parameters alone, by gradients that are given.
struct AdamUpdate {
  std::int64_t count, size;

  std::string name() const { return "adam/" + std::to_string(count) + "x" + std::to_string(size); }
  /// Parameter, gradient and two moments read, all but the gradient written.
  std::int64_t bytes() const { return 7 * 4 * count * size; }
};
inline constexpr AdamUpdate kAdamUpdates[] = {{4, 262144}, {100, 1024}};

inline constexpr int kChainLength = 25;  // of four operations each

// -- training steps ---------------------------------------------------------------------------------------------------

/// Linear layers with ReLU between them. Adam and the cross-entropy, or SGD (lr 0.01) and the squared error.
struct Mlp {
  std::string name;
  Sizes sizes;
  std::int64_t batch;
  bool classifies = true;
  bool f64 = false;

  /// What updates of the parameters read and write, by Adam or, three numbers each, SGD. (All else is in the caches.)
  std::int64_t bytes() const {
    std::int64_t parameters = 0;
    for (std::size_t i = 1; i < sizes.size(); ++i) parameters += (sizes[i - 1] + 1) * sizes[i];
    return classifies ? AdamUpdate{1, parameters}.bytes() * (f64 ? 2 : 1) : 3 * 4 * parameters;
  }
};
inline const std::vector<Mlp> kMlps = {
    {"step/mlp_2_16_16_1", {2, 16, 16, 1}, 32, false},
    {"step/mlp_784_256_256_10", {784, 256, 256, 10}, 64},
    {"step/mlp_1024x3", {1024, 1024, 1024, 1024}, 256},
    {"step_f64/mlp_1024x3", {1024, 1024, 1024, 1024}, 256, true, true},
    {"step/mlp_784_128_10/batch_1", {784, 128, 10}, 1},
    {"step/mlp_784_128_10/batch_8", {784, 128, 10}, 8},
    {"step/mlp_784_128_10/batch_64", {784, 128, 10}, 64},
    {"step/mlp_784_128_10/batch_512", {784, 128, 10}, 512},
};

/// One layer whose outputs at all times are compared with targets.
struct Lstm {
  std::string name;
  std::int64_t in, hidden, length = 32, batch = 32;

  /// What is read and written at the least beside the bare calls, each tensor once in a pass. For each state: forward 8
  /// (its 4 gates, c before; c, h, and tanh c to be kept), 3 for the loss, and backward 14 (the gates, c before, tanh
  /// c, the gradients of h, twice, and of c; those of the 4 gates and of c before). And Adam's, of each parameter.
  std::int64_t bytes() const {
    const std::int64_t parameters = 4 * hidden * (in + hidden + 2);
    return 4 * 25 * length * batch * hidden + AdamUpdate{1, parameters}.bytes();
  }
};
inline const std::vector<Lstm> kLstms = {
    {"step/lstm_64_128", 64, 128},
    {"step/lstm_64_64", 64, 64},
    {"step/lstm_256_256", 256, 256},
    {"step/lstm_1024_1024", 1024, 1024},
};

/// One layer of a transformer's encoder.
struct EncoderLayer {
  std::int64_t width = 128, heads = 4, feedforward = 512, length = 64, batch = 16;

  /// What is read and written at the least beside the bare calls, each tensor once in a pass, when each head's queries,
  /// keys and values lie by themselves. For each place, in multiples of its width and of the feed-forward's: forward 6
  /// to bring those there, 2 back, 3 and 3 for the sums that are normalised, 2 inner ones for the bias and ReLU; 3 for
  /// the loss; backward 3 and 4 for the normalisations (one gradient or two, what was normalised, the result), 3 inner
  /// ones, 2 and 6 for the heads. For each score: forward 2 and backward 3. And Adam's, of each parameter.
  std::int64_t bytes() const {
    const std::int64_t places = batch * length, scores = heads * places * length;
    const std::int64_t parameters = 4 * width * (width + 1) + 2 * width * feedforward + feedforward + 5 * width;
    return 4 * (places * (32 * width + 5 * feedforward) + 5 * scores) + AdamUpdate{1, parameters}.bytes();
  }
};
/// The next character of a text.
struct CharTransformer {
  std::int64_t layers = 4, width = 128, heads = 4, feedforward = 512, context = 64, batch = 12, characters = 65;
};
/// Images of 32x32 in ten classes (He et al. 2015, section 4.2), with projections as shortcuts.
struct ResNet20 {
  std::int64_t batch = 128, blocks_per_stage = 3, width = 16;
};

/// A class for each word of sequences; one iteration is one sequence of each length in an order that changes.
struct Lengths {
  std::int64_t batch = 16, words = 1000, width = 32, hidden = 64, classes = 10;

  static std::vector<int> fixed() { return std::vector<int>(41, 40); }
  static std::vector<int> varying() {
    std::vector<int> lengths(41);
    std::iota(lengths.begin(), lengths.end(), 20);
    return lengths;
  }
  static void shuffle(std::vector<int>& positions, Choices& choices) {
    for (std::size_t i = positions.size(); i > 1; --i)
      std::swap(positions[i - 1], positions[static_cast<std::size_t>(choices.below(static_cast<int>(i)))]);
  }
};

/// A class for a binary tree over words, whose shape is drawn anew for each iteration.
struct Tree {
  std::int64_t words = 100, width = 64, classes = 2;
  int leaves = 24;

  /// Joins leaves begin .. end - 1.
  template <class Value, class Leaf, class Join>
  static Value fold(Choices& choices, int begin, int end, const Leaf& leaf, const Join& join) {
    if (end - begin == 1) return leaf(begin);
    const int middle = begin + 1 + choices.below(end - begin - 1);
    const Value left = fold<Value>(choices, begin, middle, leaf, join);
    return join(left, fold<Value>(choices, middle, end, leaf, join));
  }
};

}  // namespace peers
