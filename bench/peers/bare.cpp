// The matrix products of the networks' training steps, by calls of the math libraries and nothing else: what a step
// takes at the least, with what its memory traffic takes (see hand's triad).
#include <cblas.h>
#include <omp.h>

#include <cstddef>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
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

/// Forward, and the gradients of the weights and of what comes from a layer before.
template <class T>
peers::Work products(const peers::Mlp& sizes, bool onednn) {
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
      if (i > 0)
        product(onednn, false, false, batch, layer.in, layer.out, dx[i + 1].data(), layer.weight.data(), dx[i].data());
    }
  };
  return {iterate, nullptr};
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
  return result;
}

}  // namespace

int main(int argc, char** argv) { return peers::run(argc, argv, peer); }
