// Networks of the benchmarks that adjoint has no layers for, written as one would write them from what there is.
// Parameters have PyTorch's names, order and initial values; test_bench_models compares them with PyTorch's own layers.
#pragma once

#include <adjoint/adjoint.hpp>

#include <cmath>
#include <cstdint>

namespace adjoint::bench {

/// An LSTM of one layer that starts from zeros: [T, N, in] -> [T, N, hidden] (Hochreiter & Schmidhuber 1997, with
/// forget gates). torch.nn.LSTM(in, hidden).
class Lstm : public nn::Module<Lstm> {
 public:
  Lstm(std::int64_t in, std::int64_t hidden)
      : weight_ih(zeros({4 * hidden, in})),
        weight_hh(zeros({4 * hidden, hidden})),
        bias_ih(zeros({4 * hidden})),
        bias_hh(zeros({4 * hidden})) {
    const double bound = 1 / std::sqrt(static_cast<double>(hidden));
    for (Tensor parameter : parameters()) nn::init::uniform_(parameter, -bound, bound);
  }

  nn::Parameter weight_ih, weight_hh, bias_ih, bias_hh;  // the gates i, f, g, o, one below the other

  void members(nn::Members& m) {
    m("weight_ih_l0", weight_ih)("weight_hh_l0", weight_hh)("bias_ih_l0", bias_ih)("bias_hh_l0", bias_hh);
  }
  Tensor forward(const Tensor& x) const {
    const Tensor from_input = linear(x, weight_ih, bias_ih + bias_hh);  // of all times at once
    Tensor h = zeros({x.size(1), weight_hh.size(1)}, x.dtype()), c = h;
    TensorList outputs;
    for (std::int64_t t = 0; t < x.size(0); ++t) {
      const TensorList gates = chunk(from_input[t] + linear(h, weight_hh), 4, -1);
      c = sigmoid(gates[1]) * c + sigmoid(gates[0]) * tanh(gates[2]);
      h = sigmoid(gates[3]) * tanh(c);
      outputs.push_back(h);
    }
    return stack(outputs);
  }
};

/// Attention of sequences [N, T, width] to themselves, by several heads (Vaswani et al. 2017).
/// torch.nn.MultiheadAttention(width, heads, batch_first=True). `mask`, of [T, T] or undefined, is added to the scores.
class SelfAttention : public nn::Module<SelfAttention> {
 public:
  SelfAttention(std::int64_t width, std::int64_t heads)
      : in_proj_weight(zeros({3 * width, width})),
        in_proj_bias(zeros({3 * width})),
        out_proj(width, width),
        heads_(heads) {
    nn::init::xavier_uniform_(in_proj_weight);
    nn::init::zeros_(out_proj.bias);
  }

  nn::Parameter in_proj_weight, in_proj_bias;  // for queries, keys and values, one below the other
  nn::Linear out_proj;

  void members(nn::Members& m) {
    m("in_proj_weight", in_proj_weight)("in_proj_bias", in_proj_bias)("out_proj", out_proj);
  }
  Tensor forward(const Tensor& x, const Tensor& mask = {}) const {
    const std::int64_t width = x.size(2), each = width / heads_;
    const Tensor projected = linear(x, in_proj_weight, in_proj_bias);
    // [3, N, heads, T, each]
    const Tensor qkv = permute(reshape(projected, {x.size(0), x.size(1), 3, heads_, each}), {2, 0, 3, 1, 4});
    const Tensor scores = matmul(qkv[0] / std::sqrt(static_cast<double>(each)), transpose(qkv[1], -2, -1));
    const Tensor attended = matmul(softmax(mask.defined() ? scores + mask : scores, -1), qkv[2]);
    return out_proj(reshape(transpose(attended, 1, 2), x.shape()));
  }

 private:
  std::int64_t heads_;
};

/// A layer of a transformer's encoder, normalised after each part: [N, T, width] -> [N, T, width].
/// torch.nn.TransformerEncoderLayer(width, heads, feedforward, dropout=0, batch_first=True).
class EncoderLayer : public nn::Module<EncoderLayer> {
 public:
  EncoderLayer(std::int64_t width, std::int64_t heads, std::int64_t feedforward)
      : self_attn(width, heads), linear1(width, feedforward), linear2(feedforward, width), norm1(width), norm2(width) {}

  SelfAttention self_attn;
  nn::Linear linear1, linear2;
  nn::LayerNorm norm1, norm2;

  void members(nn::Members& m) {
    m("self_attn", self_attn)("linear1", linear1)("linear2", linear2)("norm1", norm1)("norm2", norm2);
  }
  Tensor forward(const Tensor& x, const Tensor& mask = {}) const {
    const Tensor y = norm1(x + self_attn(x, mask));
    return norm2(y + linear2(relu(linear1(y))));
  }
};

}  // namespace adjoint::bench
