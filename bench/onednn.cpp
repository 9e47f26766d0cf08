// What oneDNN takes by itself, and the same through adjoint: how much the wrapping costs. Names differ in `onednn` and
// `adjoint` alone, so that `compare.py filters bench_onednn onednn adjoint` puts them side by side.
//
// Convolutions are 3x3 with a padding of 1. Activations lie channels-last, as results of convolutions do; oneDNN
// chooses how the weights lie, and they are brought there and back in each iteration, since a training step changes
// them.
#include <adjoint/adjoint.hpp>

#include <benchmark/benchmark.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>

#include <array>
#include <cmath>
#include <functional>
#include <utility>

namespace ad = adjoint;
using ad::Tensor;
using dnnl::memory;
using Format = memory::format_tag;

namespace {

void count_flops(benchmark::State& state, double flops) {
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

/// The number of threads of a benchmark, its last argument, for oneDNN and for adjoint.
class Threads {
 public:
  Threads(const benchmark::State& state, int argument)
      : before_(ad::get_num_threads()), openmp_before_(omp_get_max_threads()) {
    ad::set_num_threads(static_cast<int>(state.range(argument)));
    omp_set_num_threads(static_cast<int>(state.range(argument)));
  }
  ~Threads() {
    ad::set_num_threads(before_);
    omp_set_num_threads(openmp_before_);
  }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_, openmp_before_;
};

/// Tensors of one shape, computed beforehand, to be taken in turn as new nodes.
class Inputs {
 public:
  explicit Inputs(const std::function<Tensor()>& make) : inputs_{make(), make()} { ad::eval(inputs_[0], inputs_[1]); }
  Tensor next() { return inputs_[turn_++ % inputs_.size()].detach(); }

 private:
  std::array<Tensor, 2> inputs_;
  std::size_t turn_ = 0;
};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

/// Memory with values in it, two of a kind to be taken in turn.
class Memories {
 public:
  explicit Memories(const memory::desc& layout) : memories_{memory(layout, engine()), memory(layout, engine())} {
    for (const memory& memory : memories_) {
      auto* values = static_cast<float*>(memory.get_data_handle());
      for (std::size_t i = 0; i < layout.get_size() / sizeof(float); ++i) values[i] = std::sin(static_cast<float>(i));
    }
  }
  const memory& next() { return memories_[turn_++ % memories_.size()]; }

 private:
  std::array<memory, 2> memories_;
  std::size_t turn_ = 0;
};

// -- matrix products: x weight^T
// ----------------------------------------------------------------------------------------

struct ProductSizes {
  std::int64_t m, n, k;

  explicit ProductSizes(const benchmark::State& state) : m(state.range(0)), n(state.range(1)), k(state.range(2)) {}
  double flops() const { return 2.0 * static_cast<double>(m * n * k); }
};

void product_sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"m", "n", "k", "threads"})->UseRealTime()->Unit(benchmark::kMicrosecond);
  for (std::int64_t threads : {1, 2}) {
    benchmark->Args({64, 64, 64, threads});
    benchmark->Args({64, 128, 3136, threads});  // in the convolutional network of bench_models
    benchmark->Args({64, 256, 784, threads});   // in its networks of linear layers
    benchmark->Args({256, 1024, 1024, threads});
    benchmark->Args({1024, 1024, 1024, threads});
  }
}

void sgemm_onednn(benchmark::State& state) {
  const Threads threads(state, 3);
  const ProductSizes s(state);
  const auto matrix = [](std::int64_t rows, std::int64_t columns) {
    return memory::desc({rows, columns}, memory::data_type::f32, Format::ab);
  };
  Memories x(matrix(s.m, s.k)), weight(matrix(s.n, s.k)), y(matrix(s.m, s.n));
  const auto data = [](Memories& of) { return static_cast<float*>(of.next().get_data_handle()); };
  for (auto _ : state) dnnl::sgemm('N', 'T', s.m, s.n, s.k, 1.0f, data(x), s.k, data(weight), s.k, 0.0f, data(y), s.n);
  count_flops(state, s.flops());
}
BENCHMARK(sgemm_onednn)->Name("sgemm/onednn")->Apply(product_sizes);

void sgemm_adjoint(benchmark::State& state) {
  const Threads threads(state, 3);
  const ad::NoGradGuard no_grad;
  const ProductSizes s(state);
  Inputs x([&] { return ad::randn({s.m, s.k}); }), weight([&] { return ad::randn({s.n, s.k}); });
  for (auto _ : state) ad::eval(ad::linear(x.next(), weight.next()));
  count_flops(state, s.flops());
}
BENCHMARK(sgemm_adjoint)->Name("sgemm/adjoint")->Apply(product_sizes);

// -- convolutions
// -------------------------------------------------------------------------------------------------------

struct ConvolutionSizes {
  std::int64_t batch, in, out, size;  // images of size x size

  explicit ConvolutionSizes(const benchmark::State& state)
      : batch(state.range(0)), in(state.range(1)), out(state.range(2)), size(state.range(3)) {}
  double flops() const { return 2.0 * 9 * static_cast<double>(batch * in * out * size * size); }
};

void convolution_sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"batch", "in", "out", "size", "threads"})->UseRealTime()->Unit(benchmark::kMicrosecond);
  for (std::int64_t threads : {1, 2}) {
    benchmark->Args({64, 1, 32, 28, threads});  // both in the convolutional network of bench_models
    benchmark->Args({64, 32, 64, 14, threads});
    benchmark->Args({32, 64, 64, 32, threads});
  }
}

/// What to compute of a convolution: the result, or the gradient of the input or of the weight.
enum class Pass { forward, backward_data, backward_weights };

/// The layouts as the user has them, and weights as oneDNN wants them.
struct Layouts {
  memory::desc input, weight, output, any_weight;

  explicit Layouts(const ConvolutionSizes& s)
      : input(of({s.batch, s.in, s.size, s.size}, Format::nhwc)),
        weight(of({s.out, s.in, 3, 3}, Format::oihw)),
        output(of({s.batch, s.out, s.size, s.size}, Format::nhwc)),
        any_weight(of({s.out, s.in, 3, 3}, Format::any)) {}

 private:
  static memory::desc of(const memory::dims& sizes, Format format) {
    return memory::desc(sizes, memory::data_type::f32, format);
  }
};

const memory::dims kOnes{1, 1};  // strides and paddings
// oneDNN 3 has no operation descriptors any more: their arguments are those of the primitive descriptor.

dnnl::convolution_forward::primitive_desc forward_of(const Layouts& l) {
  constexpr auto kind = dnnl::prop_kind::forward_training;
  constexpr auto algorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), kind, algorithm, l.input, l.any_weight, l.output, kOnes, kOnes, kOnes};
#else
  return {dnnl::convolution_forward::desc(kind, algorithm, l.input, l.any_weight, l.output, kOnes, kOnes, kOnes),
          engine()};
#endif
}

/// The descriptor of the gradient of an input or a weight.
template <class Backward>
typename Backward::primitive_desc backward_of(const Layouts& l, const memory::desc& a, const memory::desc& b) {
  constexpr auto algorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), algorithm, a, b, l.output, kOnes, kOnes, kOnes, forward_of(l)};
#else
  return {typename Backward::desc(algorithm, a, b, l.output, kOnes, kOnes, kOnes), engine(), forward_of(l)};
#endif
}

void convolution_onednn(benchmark::State& state, Pass pass) {
  const Threads threads(state, 4);
  const ConvolutionSizes s(state);
  const Layouts l(s);
  Memories input(l.input), weight(l.weight), output(l.output);
  dnnl::stream stream(engine());

  // Runs the primitive, with the weight brought to the layout that it wants, or its gradient back from there.
  const auto run = [&](const dnnl::primitive& primitive, const memory::desc& wanted, int weight_argument,
                       int input_argument, int output_argument) {
    const bool weight_is_result = pass == Pass::backward_weights;
    const memory reordered(wanted, engine());
    const memory one = weight.next();
    const dnnl::reorder reorder(weight_is_result ? reordered : one, weight_is_result ? one : reordered);
    for (auto _ : state) {
      memory user_weight = weight.next(), own_weight = reordered;
      if (!weight_is_result) reorder.execute(stream, user_weight, own_weight);
      primitive.execute(
          stream, {{weight_argument, own_weight}, {input_argument, input.next()}, {output_argument, output.next()}});
      if (weight_is_result) reorder.execute(stream, own_weight, user_weight);
      stream.wait();
    }
  };
  if (pass == Pass::forward) {
    const auto d = forward_of(l);
    run(dnnl::convolution_forward(d), d.weights_desc(), DNNL_ARG_WEIGHTS, DNNL_ARG_SRC, DNNL_ARG_DST);
  } else if (pass == Pass::backward_data) {
    const auto d = backward_of<dnnl::convolution_backward_data>(l, l.input, l.any_weight);
    run(dnnl::convolution_backward_data(d), d.weights_desc(), DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_DST);
  } else {
    const auto d = backward_of<dnnl::convolution_backward_weights>(l, l.input, l.any_weight);
    run(dnnl::convolution_backward_weights(d), d.diff_weights_desc(), DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_SRC,
        DNNL_ARG_DIFF_DST);
  }
  count_flops(state, s.flops());
}
BENCHMARK_CAPTURE(convolution_onednn, forward, Pass::forward)
    ->Name("convolution/onednn/forward")
    ->Apply(convolution_sizes);
BENCHMARK_CAPTURE(convolution_onednn, backward_data, Pass::backward_data)
    ->Name("convolution/onednn/backward_data")
    ->Apply(convolution_sizes);
BENCHMARK_CAPTURE(convolution_onednn, backward_weights, Pass::backward_weights)
    ->Name("convolution/onednn/backward_weights")
    ->Apply(convolution_sizes);

void convolution_adjoint(benchmark::State& state, Pass pass) {
  const Threads threads(state, 4);
  const ConvolutionSizes s(state);
  const auto channels_last = [&](std::int64_t channels) {
    return ad::permute(ad::randn({s.batch, s.size, s.size, channels}), {0, 3, 1, 2});
  };
  Inputs input([&] { return channels_last(s.in); }), weight([&] {
    return ad::randn({s.out, s.in, 3, 3});
  }),
      output([&] { return channels_last(s.out); });
  for (auto _ : state) {
    const Tensor x = input.next().requires_grad_(pass == Pass::backward_data),
                 w = weight.next().requires_grad_(pass == Pass::backward_weights);
    Tensor result = ad::conv2d(x, w, {}, {.padding = 1});
    // Nobody holds the convolution itself any more, so that only its gradient is computed.
    if (pass != Pass::forward)
      result =
          ad::autograd::grad({std::move(result)}, {x.requires_grad() ? x : w}, {.grad_outputs = {output.next()}})[0];
    ad::eval(result);
  }
  count_flops(state, s.flops());
}
BENCHMARK_CAPTURE(convolution_adjoint, forward, Pass::forward)
    ->Name("convolution/adjoint/forward")
    ->Apply(convolution_sizes);
BENCHMARK_CAPTURE(convolution_adjoint, backward_data, Pass::backward_data)
    ->Name("convolution/adjoint/backward_data")
    ->Apply(convolution_sizes);
BENCHMARK_CAPTURE(convolution_adjoint, backward_weights, Pass::backward_weights)
    ->Name("convolution/adjoint/backward_weights")
    ->Apply(convolution_sizes);

}  // namespace
