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

/// A convolution that is ready to run: weights are rearranged into what its implementation likes best.
struct Plan {
  dnnl::primitive convolution, reorder;  // reorder: of the weights, before it, or after it when they are its result
  memory::desc activations, result, weights, inner_weights, scratchpad;
  bool reorders = false;
  std::size_t bytes = 0;  // of scratch: the inner weights, then oneDNN's own
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

Plan make_plan(ConvolutionKind kind, const Convolution& s) {
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
  Plan plan;
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
  return plan;
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
  std::shared_ptr<const Plan> plan;
  try {
    plan = std::make_shared<const Plan>(make_plan(kind, sizes));
  } catch (const dnnl::error&) {
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
  const auto on = [](const memory::desc& description, const void* data) {
    return memory(description, engine(), const_cast<void*>(data));
  };
  auto* free = static_cast<std::byte*>(scratch);
  void* inner_data = free;
  if (plan->reorders) free += aligned(plan->inner_weights.get_size());
  const memory scratchpad = on(plan->scratchpad, free);
  dnnl::stream stream(engine());
  if (kind == ConvolutionKind::weight) {
    const memory weights = on(plan->weights, result),
                 inner = plan->reorders ? on(plan->inner_weights, inner_data) : weights;
    plan->convolution.execute(stream, {{DNNL_ARG_SRC, on(plan->activations, a)},
                                       {DNNL_ARG_DIFF_DST, on(plan->result, b)},
                                       {DNNL_ARG_DIFF_WEIGHTS, inner},
                                       {DNNL_ARG_SCRATCHPAD, scratchpad}});
    if (plan->reorders) plan->reorder.execute(stream, {{DNNL_ARG_FROM, inner}, {DNNL_ARG_TO, weights}});
  } else {
    const bool forward = kind == ConvolutionKind::forward;
    const memory weights = on(plan->weights, b), inner = plan->reorders ? on(plan->inner_weights, inner_data) : weights;
    if (plan->reorders) plan->reorder.execute(stream, {{DNNL_ARG_FROM, weights}, {DNNL_ARG_TO, inner}});
    plan->convolution.execute(stream, {{forward ? DNNL_ARG_SRC : DNNL_ARG_DIFF_DST, on(plan->activations, a)},
                                       {DNNL_ARG_WEIGHTS, inner},
                                       {forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_SRC, on(plan->result, result)},
                                       {DNNL_ARG_SCRATCHPAD, scratchpad}});
  }
  stream.wait();
  return true;
} catch (const dnnl::error&) {
  return false;
}

}  // namespace adjoint::kernels::onednn
