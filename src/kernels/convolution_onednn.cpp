#include "kernels/convolution_onednn.hpp"

#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>

#include <algorithm>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

namespace adjoint::kernels::onednn {
namespace {

using dnnl::memory;
using Dims = memory::dims;

// Primitives that are kept: a network has three for each of its convolutions.
constexpr std::size_t kMostPlans = 256;

const dnnl::engine& engine() {
  static const dnnl::engine& engine = *new dnnl::engine(dnnl::engine::kind::cpu, 0);  // outlives every tensor
  return engine;
}

std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

struct Call;

/// A convolution that is ready to run: weights are rearranged into what its implementation likes best.
struct Plan {
  dnnl::primitive convolution, reorder;  // reorder: of the weights, before it, or after it when they are its result
  memory::desc activations, result, weights, inner_weights, scratchpad;
  bool reorders = false;
  std::size_t bytes = 0;  // of scratch: the inner weights, then oneDNN's own
  // What calls need beside: kept, so that later ones make none. As many as host threads ever ran the plan at once.
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Call>> calls;
};

/// Memory objects, which a call points at its operands.
struct Call {
  explicit Call(const Plan& plan)
      : activations(of(plan.activations)),
        result(of(plan.result)),
        weights(of(plan.weights)),
        inner_weights(of(plan.inner_weights)),
        scratchpad(of(plan.scratchpad)),
        stream(engine()) {}
  static memory of(const memory::desc& description) { return memory(description, engine(), DNNL_MEMORY_NONE); }
  void execute(const dnnl::primitive& primitive, const dnnl_exec_arg_t* arguments, int count) {
    dnnl::error::wrap_c_api(dnnl_primitive_execute(primitive.get(), stream.get(), count, arguments),
                            "could not execute a primitive");
  }

  memory activations, result, weights, inner_weights, scratchpad;
  dnnl::stream stream;
};

/// A call of a plan, for as long as it lives.
class Taken {
 public:
  explicit Taken(const Plan& plan) : plan_(plan) {
    {
      const std::lock_guard lock(plan.mutex);
      if (!plan.calls.empty()) {
        call_ = std::move(plan.calls.back());
        plan.calls.pop_back();
      }
    }
    if (!call_) call_ = std::make_unique<Call>(plan);
  }
  ~Taken() {
    try {
      const std::lock_guard lock(plan_.mutex);
      plan_.calls.push_back(std::move(call_));
    } catch (const std::bad_alloc&) {  // then it is not kept
    }
  }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;
  Call* operator->() const noexcept { return call_.get(); }

 private:
  const Plan& plan_;
  std::unique_ptr<Call> call_;
};

#if DNNL_VERSION_MAJOR >= 3
template <class Primitive, class... Arguments>
typename Primitive::primitive_desc describe(const dnnl::primitive_attr& attributes, const Arguments&... arguments) {
  return typename Primitive::primitive_desc(engine(), arguments..., attributes);
}
template <class Primitive, class Hint, class... Arguments>
typename Primitive::primitive_desc describe_backward(const dnnl::primitive_attr& attributes, const Hint& hint,
                                                     const Arguments&... arguments) {
  return typename Primitive::primitive_desc(engine(), arguments..., hint, attributes);
}
#else
template <class Primitive, class... Arguments>
typename Primitive::primitive_desc describe(const dnnl::primitive_attr& attributes, const Arguments&... arguments) {
  return typename Primitive::primitive_desc(typename Primitive::desc(arguments...), attributes, engine());
}
template <class Primitive, class Hint, class... Arguments>
typename Primitive::primitive_desc describe_backward(const dnnl::primitive_attr& attributes, const Hint& hint,
                                                     const Arguments&... arguments) {
  return typename Primitive::primitive_desc(typename Primitive::desc(arguments...), attributes, engine(), hint);
}
#endif

// What padding at the end makes the sizes meet: less than what is given where the last elements are not reached.
std::int64_t end_padding(const Convolution& s, int d) {
  const std::int64_t extent = (s.kernel[d] - 1) * s.dilation[d] + 1;
  return std::max<std::int64_t>(0, (s.out[d] - 1) * s.stride[d] + extent - s.in[d] - s.padding[d]);
}

void make_plan(ConvolutionKind kind, const Convolution& s, Plan& plan) {
  constexpr auto f32 = memory::data_type::f32;
  constexpr auto last = memory::format_tag::nhwc, any = memory::format_tag::any;
  const memory::desc x({s.batch, s.in_channels, s.in[0], s.in[1]}, f32, last),
      y({s.batch, s.out_channels, s.out[0], s.out[1]}, f32, last);
  const std::int64_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  const bool grouped = s.groups > 1;
  const Dims dims =
      grouped ? Dims{s.groups, out, in, s.kernel[0], s.kernel[1]} : Dims{out, in, s.kernel[0], s.kernel[1]};
  const memory::desc weights(dims, f32, grouped ? memory::format_tag::goihw : memory::format_tag::oihw),
      free_weights(dims, f32, any);
  const Dims strides{s.stride[0], s.stride[1]}, dilations{s.dilation[0] - 1, s.dilation[1] - 1},
      before{s.padding[0], s.padding[1]}, after{end_padding(s, 0), end_padding(s, 1)};
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);  // so that host threads may share a plan
  constexpr auto algorithm = dnnl::algorithm::convolution_direct;

  const auto forward = describe<dnnl::convolution_forward>(attributes, dnnl::prop_kind::forward_training, algorithm, x,
                                                           free_weights, y, strides, dilations, before, after);
  plan.weights = weights;
  switch (kind) {
    case ConvolutionKind::forward:
      plan.convolution = dnnl::convolution_forward(forward);
      plan.inner_weights = forward.weights_desc();
      plan.scratchpad = forward.scratchpad_desc();
      plan.activations = x;
      plan.result = y;
      break;
    case ConvolutionKind::data: {
      const auto data = describe_backward<dnnl::convolution_backward_data>(
          attributes, forward, algorithm, x, free_weights, y, strides, dilations, before, after);
      plan.convolution = dnnl::convolution_backward_data(data);
      plan.inner_weights = data.weights_desc();
      plan.scratchpad = data.scratchpad_desc();
      plan.activations = y;
      plan.result = x;
      break;
    }
    case ConvolutionKind::weight: {
      const auto weight = describe_backward<dnnl::convolution_backward_weights>(
          attributes, forward, algorithm, x, free_weights, y, strides, dilations, before, after);
      plan.convolution = dnnl::convolution_backward_weights(weight);
      plan.inner_weights = weight.diff_weights_desc();
      plan.scratchpad = weight.scratchpad_desc();
      plan.activations = x;
      plan.result = y;  // the second operand here
      break;
    }
  }
  plan.reorders = plan.inner_weights != weights;
  if (plan.reorders) {
    const bool comes_after = kind == ConvolutionKind::weight;
    const memory::desc &from = comes_after ? plan.inner_weights : weights,
                       &to = comes_after ? weights : plan.inner_weights;
    plan.reorder = dnnl::reorder(dnnl::reorder::primitive_desc(engine(), from, engine(), to));
    plan.bytes = aligned(plan.inner_weights.get_size());
  }
  plan.bytes += aligned(plan.scratchpad.get_size());
}

struct Key {
  ConvolutionKind kind;
  int threads;  // oneDNN cuts work by their number
  Convolution sizes;
};
bool operator==(const Key& a, const Key& b) {
  const auto same = [](const std::int64_t(&x)[2], const std::int64_t(&y)[2]) { return x[0] == y[0] && x[1] == y[1]; };
  const Convolution &s = a.sizes, &t = b.sizes;
  return a.kind == b.kind && a.threads == b.threads && s.batch == t.batch && s.groups == t.groups &&
         s.in_channels == t.in_channels && s.out_channels == t.out_channels && same(s.in, t.in) && same(s.out, t.out) &&
         same(s.kernel, t.kernel) && same(s.stride, t.stride) && same(s.padding, t.padding) &&
         same(s.dilation, t.dilation);
}

/// The plan of a convolution, made once; null where oneDNN has none.
std::shared_ptr<const Plan> plan_of(ConvolutionKind kind, const Convolution& sizes) {
  struct Cache {
    std::mutex mutex;
    std::list<std::pair<Key, std::shared_ptr<const Plan>>> plans;  // the latest used first
  };
  static Cache& cache = *new Cache;
  const Key key{kind, omp_get_max_threads(), sizes};
  const std::lock_guard lock(cache.mutex);
  const auto found =
      std::find_if(cache.plans.begin(), cache.plans.end(), [&](const auto& entry) { return entry.first == key; });
  if (found != cache.plans.end()) {
    cache.plans.splice(cache.plans.begin(), cache.plans, found);
    return cache.plans.front().second;
  }
  auto plan = std::make_shared<Plan>();
  try {
    make_plan(kind, sizes, *plan);
  } catch (const dnnl::error&) {
    plan.reset();
  }
  cache.plans.emplace_front(key, plan);
  if (cache.plans.size() > kMostPlans) cache.plans.pop_back();
  return plan;
}

}  // namespace

std::ptrdiff_t scratch(ConvolutionKind kind, const Convolution& sizes) {
  const auto plan = plan_of(kind, sizes);
  return plan ? static_cast<std::ptrdiff_t>(plan->bytes) : -1;
}

bool convolution(ConvolutionKind kind, const Convolution& sizes, const float* a, const float* b, float* result,
                 void* scratch) try {
  const auto plan = plan_of(kind, sizes);
  if (!plan) return false;
  const Taken call(*plan);
  auto* free = static_cast<std::byte*>(scratch);
  const auto point = [](memory& at, const void* data) { at.set_data_handle(const_cast<void*>(data)); };
  memory& inner = plan->reorders ? call->inner_weights : call->weights;
  if (plan->reorders) {
    point(inner, free);
    free += aligned(plan->inner_weights.get_size());
  }
  point(call->scratchpad, free);
  point(call->activations, a);
  const bool of_weight = kind == ConvolutionKind::weight, forward = kind == ConvolutionKind::forward;
  point(call->weights, of_weight ? result : b);
  point(call->result, of_weight ? b : result);
  const auto reorder = [&](const memory& from, const memory& to) {
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from.get()}, {DNNL_ARG_TO, to.get()}};
    if (plan->reorders) call->execute(plan->reorder, arguments, 2);
  };
  if (!of_weight) reorder(call->weights, inner);
  const dnnl_exec_arg_t arguments[] = {
      {kind == ConvolutionKind::data ? DNNL_ARG_DIFF_DST : DNNL_ARG_SRC, call->activations.get()},
      {of_weight ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS, inner.get()},
      {of_weight ? DNNL_ARG_DIFF_DST : forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_SRC, call->result.get()},
      {DNNL_ARG_SCRATCHPAD, call->scratchpad.get()}};
  call->execute(plan->convolution, arguments, 4);
  if (of_weight) reorder(inner, call->weights);
  call->stream.wait();
  return true;
} catch (const dnnl::error&) {
  return false;
}

}  // namespace adjoint::kernels::onednn
