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

/// c [m, n] = a b, row-major; a is [m, k], or [k, m] and transposed, and b likewise.
template <class T>
void product(bool onednn, bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
             const T* a, const T* b, T* c) {
  const std::int64_t lda = transpose_a ? m : k, ldb = transpose_b ? k : n;
  const auto cblas = [&](auto gemm) {
    gemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans,
         static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), 1, a, static_cast<int>(lda), b,
         static_cast<int>(ldb), 0, c, static_cast<int>(n));
  };
  if constexpr (sizeof(T) == sizeof(double)) {
    cblas(cblas_dgemm);
  } else {
    if (onednn) dnnl::sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k, 1, a, lda, b, ldb, 0, c, n);
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
  for (const peers::Mlp& sizes : peers::kMlps) {
    result.workloads.push_back(
        {sizes.name,
         [&sizes](const std::string& setting) {
           return sizes.f64 ? products<double>(sizes, false) : products<float>(sizes, setting == "oneDNN");
         },
         0, sizes.f64 ? std::vector<std::string>{"OpenBLAS"} : std::vector<std::string>{"oneDNN", "OpenBLAS"}});
  }
  result.workloads.push_back({"step/cnn_28x28",
                              [](const std::string& setting) { return cnn(setting == "oneDNN"); },
                              0,
                              {"oneDNN", "OpenBLAS"}});
  return result;
}

}  // namespace

int main(int argc, char** argv) { return peers::run(argc, argv, peer); }
