// The matrix products and convolutions of the networks' training steps, by calls of the math libraries and nothing
// else: what a step takes at the least, with what its memory traffic takes (see hand's triad).
#include <cblas.h>
#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "peer.hpp"
#include "workloads.hpp"

namespace {

/// c [m, n] = a b, or c += a b, row-major; a is [m, k], or [k, m] and transposed, and b likewise.
template <class T>
void product(bool onednn, bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
             const T* a, const T* b, T* c, bool add = false) {
  const std::int64_t lda = transpose_a ? m : k, ldb = transpose_b ? k : n;
  const auto cblas = [&](auto gemm) {
    gemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans,
         static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), 1, a, static_cast<int>(lda), b,
         static_cast<int>(ldb), add, c, static_cast<int>(n));
  };
  if constexpr (sizeof(T) == sizeof(double)) {
    cblas(cblas_dgemm);
  } else {
    if (onednn) dnnl::sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, 1, a, lda, b, ldb, add, c, n);
    else cblas(cblas_sgemm);
  }
}

/// Forward, and the gradients of the weights and, in all layers but the first (in that as well, if `gradient_of_x`), of
/// what comes from the layer before.
template <class T>
peers::Work products(const peers::Mlp& sizes, bool onednn, bool gradient_of_x = false) {
  struct Layer {
    std::int64_t in, out;
    std::vector<T> weight, dweight;
  };
  std::vector<Layer> layers;
  std::vector<std::vector<T>> x, dx;  // x[i] goes into layer i
  for (std::size_t i = 0; i < sizes.sizes.size(); ++i) {
    const std::int64_t width = sizes.sizes[i];
    x.push_back(peers::normal<T>(sizes.batch * width, static_cast<std::uint32_t>(2 * i)));
    dx.push_back(x.back());
    if (i + 1 == sizes.sizes.size()) break;
    const std::int64_t out = sizes.sizes[i + 1];
    layers.push_back({width, out, peers::normal<T>(width * out, static_cast<std::uint32_t>(2 * i + 1)), {}});
    layers.back().dweight = layers.back().weight;
  }
  const auto iterate = [=, batch = sizes.batch]() mutable {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const Layer& layer = layers[i];
      product(onednn, false, true, batch, layer.out, layer.in, x[i].data(), layer.weight.data(), x[i + 1].data());
    }
    for (std::size_t i = layers.size(); i-- > 0;) {
      Layer& layer = layers[i];
      product(onednn, true, false, layer.out, layer.in, batch, dx[i + 1].data(), x[i].data(), layer.dweight.data());
      if (i > 0 || gradient_of_x)
        product(onednn, false, false, batch, layer.in, layer.out, dx[i + 1].data(), layer.weight.data(), dx[i].data());
    }
  };
  return {iterate, nullptr};
}

/// Makes numbers for count elements, others each time.
class Maker {
 public:
  std::vector<float> operator()(std::int64_t count) { return peers::normal(count, ++stream_); }

 private:
  std::uint32_t stream_ = 0;
};

/// Of an LSTM, which starts from zeros: the inputs' share of the gates at all times at once; at each time the outputs'
/// share, which is added, and the gradient of the outputs; both weights' gradients of all times at once.
peers::Work lstm(const peers::Lstm& s, bool onednn) {
  const std::int64_t gates = 4 * s.hidden, all = s.length * s.batch, rest = all - s.batch;
  Maker numbers;
  return {[=, x = numbers(all * s.in), of_x = numbers(gates * s.in), of_h = numbers(gates * s.hidden),
           h = numbers(all * s.hidden), dgates = numbers(all * gates), shares = numbers(all * gates),
           dh = numbers(all * s.hidden), gradient = numbers(gates * (s.in + s.hidden))]() mutable {
            product(onednn, false, true, all, gates, s.in, x.data(), of_x.data(), shares.data());
            for (std::int64_t t = 0; t < rest; t += s.batch)
              product(onednn, false, true, s.batch, gates, s.hidden, h.data() + t * s.hidden, of_h.data(),
                      shares.data() + (t + s.batch) * gates, true);
            for (std::int64_t t = rest; t > 0; t -= s.batch)
              product(onednn, false, false, s.batch, s.hidden, gates, dgates.data() + t * gates, of_h.data(),
                      dh.data() + t * s.hidden);
            product(onednn, true, false, gates, s.hidden, rest, dgates.data() + s.batch * gates, h.data(),
                    gradient.data());
            product(onednn, true, false, gates, s.in, all, dgates.data(), x.data(), gradient.data() + gates * s.hidden);
          },
          nullptr};
}

/// Of a layer of a transformer's encoder: its linear layers, and for each sequence and head the products of attention.
peers::Work encoder_layer(const peers::EncoderLayer& s, bool onednn) {
  const std::int64_t each = s.width / s.heads, places = s.batch * s.length, heads = s.batch * s.heads;
  const std::vector<peers::Work> layers = {
      products<float>({"", {s.width, 3 * s.width}, places}, onednn),
      products<float>({"", {s.width, s.width}, places}, onednn, true),
      products<float>({"", {s.width, s.feedforward, s.width}, places}, onednn, true)};
  Maker numbers;
  return {[=, qkv = numbers(3 * places * s.width), of_qkv = numbers(3 * places * s.width),
           p = numbers(heads * s.length * s.length), of_p = numbers(heads * s.length * s.length)]() mutable {
            for (const peers::Work& layer : layers) layer.iterate();
#pragma omp parallel for schedule(static)
            for (std::int64_t i = 0; i < heads; ++i) {
              const auto head = [&](std::vector<float>& of, std::int64_t part) {
                return of.data() + (part * heads + i) * s.length * each;
              };
              const float* const scores = p.data() + i * s.length * s.length;
              float* const made = of_p.data() + i * s.length * s.length;
              product(onednn, false, true, s.length, s.length, each, head(qkv, 0), head(qkv, 1), made);  // the scores
              product(onednn, false, false, s.length, each, s.length, scores, head(qkv, 2), head(of_qkv, 0));
              product(onednn, true, false, s.length, each, s.length, scores, head(qkv, 0), head(of_qkv, 2));
              product(onednn, false, true, s.length, s.length, each, head(qkv, 0), head(qkv, 2), made);
              product(onednn, false, false, s.length, each, s.length, scores, head(qkv, 1), head(of_qkv, 0));
              product(onednn, true, false, s.length, each, s.length, scores, head(qkv, 0), head(of_qkv, 1));
            }
          },
          nullptr};
}

using dnnl::memory;

/// A convolution 3x3 with a padding of 1: forward, and its gradients, all in the memory layouts that oneDNN likes best.
class Convolution {
 public:
  Convolution(std::int64_t batch, std::int64_t in, std::int64_t out, std::int64_t size)
      : x_{any({batch, in, size, size})},
        weight_{any({out, in, 3, 3})},
        bias_{any({out})},
        y_{any({batch, out, size, size})} {
    const auto made = forward();
    const auto data = backward_data(made);
    const auto weights = backward_weights(made);
    add(made, {{DNNL_ARG_SRC, made.src_desc()},
               {DNNL_ARG_WEIGHTS, made.weights_desc()},
               {DNNL_ARG_BIAS, made.bias_desc()},
               {DNNL_ARG_DST, made.dst_desc()}});
    add(weights, {{DNNL_ARG_SRC, weights.src_desc()},
                  {DNNL_ARG_DIFF_DST, weights.diff_dst_desc()},
                  {DNNL_ARG_DIFF_WEIGHTS, weights.diff_weights_desc()},
                  {DNNL_ARG_DIFF_BIAS, weights.diff_bias_desc()}});
    add(data, {{DNNL_ARG_DIFF_DST, data.diff_dst_desc()},
               {DNNL_ARG_WEIGHTS, data.weights_desc()},
               {DNNL_ARG_DIFF_SRC, data.diff_src_desc()}});
  }
  void forward_pass() { run(0); }
  void gradients(bool of_x) {
    run(1);
    if (of_x) run(2);
  }

 private:
  using Arguments = std::unordered_map<int, memory>;
  static memory::desc any(const memory::dims& sizes) {
    return {sizes, memory::data_type::f32, memory::format_tag::any};
  }
  // oneDNN 3 has no operation descriptors any more: their arguments are those of the primitive descriptor.
  dnnl::convolution_forward::primitive_desc forward() const {
    constexpr auto kind = dnnl::prop_kind::forward_training;
#if DNNL_VERSION_MAJOR >= 3
    return {engine_, kind, kAlgorithm, x_, weight_, bias_, y_, kOnes, kOnes, kOnes};
#else
    return {dnnl::convolution_forward::desc(kind, kAlgorithm, x_, weight_, bias_, y_, kOnes, kOnes, kOnes), engine_};
#endif
  }
  dnnl::convolution_backward_data::primitive_desc backward_data(
      const dnnl::convolution_forward::primitive_desc& made) const {
#if DNNL_VERSION_MAJOR >= 3
    return {engine_, kAlgorithm, x_, weight_, y_, kOnes, kOnes, kOnes, made};
#else
    return {dnnl::convolution_backward_data::desc(kAlgorithm, x_, weight_, y_, kOnes, kOnes, kOnes), engine_, made};
#endif
  }
  dnnl::convolution_backward_weights::primitive_desc backward_weights(
      const dnnl::convolution_forward::primitive_desc& made) const {
#if DNNL_VERSION_MAJOR >= 3
    return {engine_, kAlgorithm, x_, weight_, bias_, y_, kOnes, kOnes, kOnes, made};
#else
    return {dnnl::convolution_backward_weights::desc(kAlgorithm, x_, weight_, bias_, y_, kOnes, kOnes, kOnes), engine_,
            made};
#endif
  }
  template <class Descriptor>
  void add(const Descriptor& descriptor, const std::vector<std::pair<int, memory::desc>>& layouts) {
    Arguments arguments;
    for (const auto& [name, layout] : layouts) {
      memory values(layout, engine_);
      const auto count = static_cast<std::int64_t>(layout.get_size() / sizeof(float));
      const std::vector<float> numbers = peers::normal(count, static_cast<std::uint32_t>(name));
      std::copy(numbers.begin(), numbers.end(), static_cast<float*>(values.get_data_handle()));
      arguments.emplace(name, std::move(values));
    }
    calls_.emplace_back(dnnl::primitive(descriptor), std::move(arguments));
  }
  void run(std::size_t call) {
    calls_[call].first.execute(stream_, calls_[call].second);
    stream_.wait();
  }

  static constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;
  inline static const memory::dims kOnes{1, 1};  // strides and paddings
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  memory::desc x_, weight_, bias_, y_;
  std::vector<std::pair<dnnl::primitive, Arguments>> calls_;
};

/// Of the convolutional network: its convolutions, and the products of its linear layers.
peers::Work cnn(bool onednn) {
  const auto first = std::make_shared<Convolution>(64, 1, 32, 28),
             second = std::make_shared<Convolution>(64, 32, 64, 14);
  const peers::Work linear = products<float>({"", {64 * 7 * 7, 128, 10}, 64}, onednn, true);
  return {[=] {
            first->forward_pass();
            second->forward_pass();
            linear.iterate();
            second->gradients(true);
            first->gradients(false);
          },
          nullptr};
}

peers::Peer peer() {
  peers::Peer result;
  result.name = "bare";
  result.version = __VERSION__;
  result.set_threads = omp_set_num_threads;
  const auto add = [&](const std::string& name, std::int64_t bytes, auto make) {
    result.workloads.push_back(
        {name, [=](const std::string& setting) { return make(setting == "oneDNN"); }, bytes, {"oneDNN", "OpenBLAS"}});
  };
  for (const peers::Mlp& sizes : peers::kMlps) {
    add(sizes.name, sizes.bytes(),
        [&sizes](bool onednn) { return sizes.f64 ? products<double>(sizes, onednn) : products<float>(sizes, onednn); });
    if (sizes.f64) result.workloads.back().settings = {"OpenBLAS"};
  }
  for (const peers::Lstm& sizes : peers::kLstms)
    add(sizes.name, sizes.bytes(), [&sizes](bool onednn) { return lstm(sizes, onednn); });
  const peers::EncoderLayer layer;
  add("step/transformer_layer", layer.bytes(), [=](bool onednn) { return encoder_layer(layer, onednn); });
  add("step/cnn_28x28", 0, cnn);
  return result;
}

}  // namespace

int main(int argc, char** argv) { return peers::run(argc, argv, peer); }
