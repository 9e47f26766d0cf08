// Every operation of the operation table (src/ops/table): a new row is measured without a line here.
//
// Names are operation/direction/dtype/call/shapes, such as softmax/forward_backward/float32/softmax(x,-1)/1024x1024:
// reports of two versions can be compared by them. Each row has a small case, which shows what a call costs, and large
// ones: those that the row has for benchmarks, or else the largest of its cases; the large ones in float64, too. They
// run on as many threads as OMP_NUM_THREADS says.
#include <adjoint/adjoint.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>

#include "ops/table/table.hpp"

namespace ad = adjoint;
namespace table = adjoint::table;
using ad::Tensor;
using table::Arrays;
using table::Case;
using table::Input;
using table::Layout;
using table::Row;
using table::Tensors;

namespace {

// -- what is measured -------------------------------------------------------------------------------------------------

/// How many values the inputs take in turn.
constexpr std::size_t kDraws = 2;

/// The draws of a case's inputs. Those of the case at hand are kept: the library asks several times for each, and
/// drawing takes longer than measuring.
const std::array<Arrays, kDraws>& draws_of(const Case& sample) {
  static const Case* last = nullptr;
  static std::array<Arrays, kDraws> draws;
  if (last != &sample)
    for (std::size_t turn = 0; turn < kDraws; ++turn) draws[turn] = table::draw(sample.inputs, turn);
  last = &sample;
  return draws;
}

/// The inputs of a case, computed beforehand, to be taken in turn: `detach` makes new nodes of the same values, so
/// nothing of an earlier iteration is found again.
class Inputs {
 public:
  Inputs(const Case& sample, ad::Dtype dtype) {
    for (std::size_t turn = 0; turn < kDraws; ++turn) {
      const Arrays& arrays = draws_of(sample)[turn];
      for (std::size_t i = 0; i < arrays.size(); ++i)
        sets_[turn].push_back(table::place(arrays[i], sample.inputs[i].layout, dtype));
      ad::eval(sets_[turn]);
    }
  }
  Tensors next() {
    Tensors result = sets_[turn_++ % kDraws];
    for (Tensor& input : result) input = input.detach();
    return result;
  }

 private:
  std::array<Tensors, kDraws> sets_;
  std::size_t turn_ = 0;
};

/// A case as a function of the inputs that are differentiated, with its floating-point results.
class Differentiated {
 public:
  Differentiated(const Case& sample, Tensors inputs) : sample_(&sample), inputs_(std::move(inputs)) {
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      if (!sample.inputs[i].dtype) positions_.push_back(i);
  }
  Tensors point() const {
    Tensors point;
    for (std::size_t i : positions_) point.push_back(inputs_[i]);
    return point;
  }
  Tensors operator()(const Tensors& x) const {
    Tensors inputs = inputs_, results;
    for (std::size_t k = 0; k < x.size(); ++k) inputs[positions_[k]] = x[k];
    for (Tensor& result : sample_->call(inputs))
      if (is_floating(result.dtype())) results.push_back(std::move(result));
    return results;
  }

 private:
  const Case* sample_;
  Tensors inputs_;
  std::vector<std::size_t> positions_;
};

void forward(benchmark::State& state, const Case& sample, ad::Dtype dtype) {
  const ad::NoGradGuard no_grad;
  Inputs inputs(sample, dtype);
  for (auto _ : state) ad::eval(sample.call(inputs.next()));
}

void forward_backward(benchmark::State& state, const Case& sample, ad::Dtype dtype) {
  Inputs inputs(sample, dtype);
  // For each draw: the shape of a result may depend on values.
  std::array<Tensors, kDraws> cotangents;
  for (Tensors& weights : cotangents) {
    const Differentiated f(sample, inputs.next());
    for (const Tensor& result : f(f.point())) weights.push_back(ad::rand(result.shape(), result.dtype()));
    ad::eval(weights);
  }
  std::size_t turn = 0;
  for (auto _ : state) {
    const Differentiated f(sample, inputs.next());
    auto [results, pullback] = ad::vjp(f, f.point());
    for (Tensor& gradient : pullback(cotangents[turn++ % kDraws])) results.push_back(std::move(gradient));
    ad::eval(results);
  }
}

// -- which cases ------------------------------------------------------------------------------------------------------

/// The results for inputs of the case's shapes, not computed.
Tensors recorded(const Case& sample, ad::Dtype dtype) {
  Tensors inputs;
  for (const Input& input : sample.inputs) inputs.push_back(ad::zeros(input.shape, input.dtype.value_or(dtype)));
  return sample.call(inputs);
}

/// The elements of the largest input, or where there are none of the first result; 0 when any input is empty.
std::int64_t size_of(const Case& sample) {
  if (sample.inputs.empty()) return recorded(sample, ad::float32)[0].numel();
  std::int64_t largest = 0;
  for (const Input& input : sample.inputs) {
    const std::int64_t size = numel(input.shape);
    if (size == 0) return 0;
    largest = std::max(largest, size);
  }
  return largest;
}

int strided_inputs(const Case& sample) {
  return static_cast<int>(std::count_if(sample.inputs.begin(), sample.inputs.end(),
                                        [](const Input& input) { return input.layout != Layout::contiguous; }));
}

/// The first of the cases that are least by `key`.
template <class Key>
const Case& least(const std::vector<Case>& cases, const Key& key) {
  return *std::min_element(cases.begin(), cases.end(), [&](const Case& a, const Case& b) { return key(a) < key(b); });
}

/// Contiguous, of about sixteen elements.
const Case& small_case(const Row& row) {
  return least(row.cases, [](const Case& sample) {
    const std::int64_t size = size_of(sample);
    const std::int64_t distance = size == 0 ? std::numeric_limits<std::int64_t>::max() : std::abs(size - 16);
    return std::pair(strided_inputs(sample), distance);
  });
}

std::vector<const Case*> large_cases(const Row& row) {
  std::vector<const Case*> cases;
  for (const Case& sample : row.timed) cases.push_back(&sample);
  if (cases.empty())
    cases.push_back(
        &least(row.cases, [](const Case& sample) { return std::pair(-size_of(sample), strided_inputs(sample)); }));
  return cases;
}

// -- how they are called ----------------------------------------------------------------------------------------------

bool takes_any_dtype(const Case& sample) {
  return std::any_of(sample.inputs.begin(), sample.inputs.end(), [](const Input& input) { return !input.dtype; });
}

std::string text(const ad::Shape& shape) {
  std::string result = shape.empty() ? "scalar" : "";
  for (int i = 0; i < shape.size(); ++i) result += (i > 0 ? "x" : "") + std::to_string(shape[i]);
  return result;
}

std::string name_of(const Row& row, const char* direction, const Case& sample, ad::Dtype dtype) {
  std::string shapes;
  for (const Input& input : sample.inputs) {
    shapes += (shapes.empty() ? "" : ",") + text(input.shape);
    if (input.layout != Layout::contiguous) shapes += std::string(".") + table::name_of(input.layout);
  }
  // Where the dtype is not ours to choose, that of what the operation is about.
  if (sample.inputs.empty()) {
    const Tensor result = recorded(sample, dtype)[0];
    shapes = text(result.shape());
    dtype = result.dtype();
  } else if (!takes_any_dtype(sample)) {
    dtype = *sample.inputs[0].dtype;
  }
  std::string call = sample.label;
  call.erase(std::remove(call.begin(), call.end(), ' '), call.end());
  return row.name + "/" + direction + "/" + ad::name_of(dtype) + "/" + call + "/" + shapes;
}

void add(const Row& row, const Case& sample, ad::Dtype dtype) {
  const auto add_one = [&](const char* direction, auto* function) {
    benchmark::RegisterBenchmark(
        name_of(row, direction, sample, dtype).c_str(),
        [function, &sample, dtype](benchmark::State& state) { function(state, sample, dtype); })
        ->UseRealTime()
        ->Unit(size_of(sample) < 1024 ? benchmark::kNanosecond : benchmark::kMicrosecond);
  };
  add_one("forward", forward);
  if (!table::is_differentiable(row.family) || !takes_any_dtype(sample)) return;
  const Tensors results = recorded(sample, dtype);
  if (std::any_of(results.begin(), results.end(), [](const Tensor& x) { return is_floating(x.dtype()); }))
    add_one("forward_backward", forward_backward);
}

}  // namespace

int main(int argc, char** argv) {
  for (const Row& row : table::rows()) {
    const Case& small = small_case(row);
    add(row, small, ad::float32);
    for (const Case* large : large_cases(row)) {
      if (large == &small) continue;
      add(row, *large, ad::float32);
      if (takes_any_dtype(*large)) add(row, *large, ad::float64);
    }
  }
  benchmark::AddCustomContext("threads", std::to_string(ad::get_num_threads()));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
