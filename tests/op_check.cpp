#include "op_check.hpp"

#include <adjoint/adjoint.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>
#include <regex>
#include <set>
#include <sstream>

namespace adjoint::check {

using table::Array;
using table::Arrays;
using table::Case;
using table::Input;
using table::Layout;
using table::Result;
using table::Row;
using table::Tensors;

Tolerance tolerance(Dtype dtype) noexcept {
  return dtype == float32 ? Tolerance{1e-6, 1e-5, 1e-5, 0} : Tolerance{1e-14, 1e-11, 1e-11, 1e-7};
}

const std::vector<Exception>& exceptions() {
  static const std::vector<Exception> list{};
  return list;
}

namespace {

using Values = std::vector<double>;

double value_tolerance(const std::string& name, Dtype dtype) {
  for (const Exception& exception : exceptions())
    if (exception.name == name && exception.dtype == dtype) return exception.value;
  return tolerance(dtype).value;
}

std::string text(double value) {
  std::ostringstream out;
  out.precision(17);
  out << value;
  return out.str();
}

std::string describe(const Case& sample) {
  std::string result = sample.label + " of";
  for (const Input& input : sample.inputs) {
    result += " " + to_string(input.shape);
    if (input.layout != Layout::contiguous) result += std::string(" ") + table::name_of(input.layout);
  }
  return result;
}

/// Differs for every case, and is the same in every run: FNV-1a.
std::uint64_t seed_of(const Row& row, const Case& sample) {
  std::uint64_t hash = 14695981039346656037u;
  for (char c : row.name + describe(sample)) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

std::int64_t largest_input(const Case& sample) {
  std::int64_t largest = 0;
  for (const Input& input : sample.inputs) largest = std::max(largest, numel(input.shape));
  return largest;
}

Tensors place_all(const Case& sample, const Arrays& arrays, Dtype dtype) {
  Tensors tensors;
  for (std::size_t i = 0; i < arrays.size(); ++i)
    tensors.push_back(table::place(arrays[i], sample.inputs[i].layout, dtype));
  return tensors;
}

Arrays elements_of(const Tensors& tensors) {
  Arrays arrays;
  for (const Tensor& tensor : tensors) arrays.push_back(table::elements_of(tensor));
  return arrays;
}

bool same_bits(const Values& a, const Values& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](double x, double y) {
           return x == y || (std::isnan(x) && std::isnan(y));
         });
}
bool same_bits(const Arrays& a, const Arrays& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Array& x, const Array& y) { return x.shape == y.shape && same_bits(x.values, y.values); });
}

double largest(const Values& values) {
  double result = 0;
  for (double value : values)
    if (std::isfinite(value)) result = std::max(result, std::abs(value));
  return result;
}

/// Where `actual` deviates from `expected` by more than tolerance times the larger of |expected| and scale; empty if
/// nowhere.
std::string deviation(const Values& actual, const Values& expected, double accepted, double scale) {
  if (actual.size() != expected.size())
    return std::to_string(actual.size()) + " elements instead of " + std::to_string(expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double a = actual[i], e = expected[i];
    if (a == e || (std::isnan(a) && std::isnan(e))) continue;
    if (std::abs(a - e) <= accepted * std::max(std::abs(e), scale)) continue;
    return "element " + std::to_string(i) + " is " + text(a) + " instead of " + text(e) + " (off by " +
           text(std::abs(a - e) / std::max(std::abs(e), scale)) + ")";
  }
  return {};
}

/// The number of threads, for a while.
class Threads {
 public:
  explicit Threads(int count) : before_(get_num_threads()) { set_num_threads(count); }
  ~Threads() { set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

/// Runs a check of a case, and turns what it throws into a failure.
template <class Check>
void guarded(const Case& sample, const char* what, Failures& failures, const Check& check) {
  std::string problem;
  try {
    problem = check();
  } catch (const std::exception& error) {
    problem = std::string("threw ") + error.what();
  }
  if (!problem.empty()) failures.push_back(describe(sample) + ": " + what + ": " + problem);
}

// Elementwise results are judged each by itself, sums beside the largest.
double scale_of(const Row& row, const Array& expected) {
  const bool each = row.family == table::Family::elementwise || !table::is_differentiable(row.family);
  return each ? 0 : largest(expected.values);
}

std::string compare(const Row& row, const Arrays& actual, const Arrays& expected, Dtype dtype) {
  if (actual.size() != expected.size())
    return std::to_string(actual.size()) + " results instead of " + std::to_string(expected.size());
  for (std::size_t k = 0; k < actual.size(); ++k) {
    const Dtype wanted = expected[k].dtype.value_or(dtype);
    const std::string which = actual.size() > 1 ? "result " + std::to_string(k) + ": " : "";
    if (actual[k].shape != expected[k].shape)
      return which + "shape " + to_string(actual[k].shape) + " instead of " + to_string(expected[k].shape);
    if (*actual[k].dtype != wanted) return which + name_of(*actual[k].dtype) + " instead of " + name_of(wanted);
    Values rounded = expected[k].values;
    if (!is_floating(wanted))
      for (double& value : rounded) value = table::stored(value, wanted);
    const double accepted = is_floating(wanted) ? value_tolerance(row.name, wanted) : 0;
    const std::string problem = deviation(actual[k].values, rounded, accepted, scale_of(row, expected[k]));
    if (!problem.empty()) return which + problem;
  }
  return {};
}

/// Whether matrix products are in it, which have the same bits for a fixed number of threads only.
bool contracts(const Row& row) { return row.family == table::Family::bilinear || row.name == "linear"; }

}  // namespace

// -- values -----------------------------------------------------------------------------------------------------------

Failures values(const Row& row, Dtype dtype) {
  const Threads one(1);
  Failures failures;
  for (const Case& sample : row.cases) {
    const Arrays arrays = table::draw(sample.inputs, seed_of(row, sample));
    guarded(sample, name_of(dtype), failures, [&]() -> std::string {
      const Tensors inputs = place_all(sample, arrays, dtype);
      const Arrays actual = elements_of(sample.call(inputs));
      const std::string problem =
          sample.oracle ? compare(row, actual, sample.oracle(arrays), dtype) : sample.property(arrays, actual);
      if (!problem.empty()) return problem;
      for (std::size_t i = 0; i < inputs.size(); ++i)
        if (!same_bits(table::elements_of(inputs[i]).values, arrays[i].values))
          return "input " + std::to_string(i) + " was changed";
      {
        const EagerGuard eager;
        if (!same_bits(elements_of(sample.call(inputs)), actual)) return "an EagerGuard changes the bits";
      }
      if (!contracts(row) && std::max(largest_input(sample), numel(actual[0].shape)) >= table::kLarge / 2) {
        for (int threads : {2, 3, 4}) {
          const Threads more(threads);
          if (!same_bits(elements_of(sample.call(inputs)), actual))
            return "other bits with " + std::to_string(threads) + " threads";
        }
      }
      return {};
    });
  }
  return failures;
}

Failures integers(const Row& row) {
  Failures failures;
  constexpr std::int64_t most = 1100;  // larger samples add nothing here
  for (const Case& original : row.cases)
    for (Dtype dtype : {int64, int32, uint8, bool_}) {
      if (original.floating_only || !original.oracle || largest_input(original) > most) continue;
      Case sample = original;
      bool any = false;
      for (Input& input : sample.inputs) {
        if (input.dtype) continue;
        any = true;
        input.dtype = dtype;
        table::Domain whole;
        for (int v = -5; v <= 5; ++v) {
          const bool exists = dtype == bool_ ? v == 0 || v == 1 : dtype != uint8 || v >= 0;
          const table::Domain& d = input.domain;
          const bool inside =
              d.choices.empty() ? v >= d.low && v <= d.high : std::count(d.choices.begin(), d.choices.end(), v) > 0;
          if (exists && inside) whole.choices.push_back(v);
        }
        if (whole.choices.empty()) whole.choices.push_back(1);
        input.domain = whole;
      }
      if (!any) continue;
      guarded(sample, name_of(dtype), failures, [&]() -> std::string {
        const Result result = dtype == bool_ ? row.on_integers.bools : row.on_integers.integers;
        const Arrays arrays = table::draw(sample.inputs, seed_of(row, sample));
        const Tensors inputs = place_all(sample, arrays, dtype);
        if (result == Result::refused) {
          try {
            sample.call(inputs);
          } catch (const DtypeError& error) {
            const std::string message = error.what();
            if (message.find(row.name) == std::string::npos || message.find(name_of(dtype)) == std::string::npos)
              return "the error names neither the operation nor the dtype: " + message;
            return {};
          }
          return "was not refused";
        }
        Arrays expected = sample.oracle(arrays);
        // Results with a dtype of their own, such as positions, keep it. An oracle that hands an input's elements on
        // hands its dtype on too.
        for (Array& array : expected)
          if (!array.dtype || array.dtype == dtype)
            array.dtype = result == Result::float32 ? float32 : result == Result::int64 ? int64 : dtype;
        return compare(row, elements_of(sample.call(inputs)), expected, dtype);
      });
    }
  return failures;
}

// -- derivatives ------------------------------------------------------------------------------------------------------

namespace {

/// All elements of several tensors.
Values flat(const Tensors& tensors) {
  Values result;
  eval(tensors);
  for (const Tensor& tensor : tensors) {
    const Values values = table::elements_of(tensor).values;
    result.insert(result.end(), values.begin(), values.end());
  }
  return result;
}

double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
double norm(const Values& a) { return std::sqrt(dot(a, a)); }

/// A case as a function of its differentiated inputs, with its floating-point results.
class Function {
 public:
  Function(const Case& sample, const Arrays& arrays, Dtype dtype) : sample_(&sample), dtype_(dtype) {
    const Tensors all = place_all(sample, arrays, dtype);
    for (std::size_t i = 0; i < all.size(); ++i)
      if (sample.inputs[i].dtype) fixed_.push_back(all[i]);
      else fixed_.emplace_back(), point_.push_back(all[i]);
  }
  Tensors operator()(const Tensors& x) const {
    Tensors inputs = fixed_;
    std::size_t next = 0;
    for (Tensor& input : inputs)
      if (!input.defined()) input = x[next++];
    Tensors results;
    for (const Tensor& result : sample_->call(inputs))
      if (is_floating(result.dtype())) results.push_back(result);
    return results;
  }
  /// The sample's inputs that are differentiated.
  const Tensors& point() const { return point_; }
  Dtype dtype() const { return dtype_; }

 private:
  const Case* sample_;
  Dtype dtype_;
  Tensors fixed_, point_;
};

/// Random tensors of the shapes and dtypes of others. Half of them are strided.
Tensors random_like(const Tensors& tensors, std::uint64_t seed) {
  Tensors result;
  for (const Tensor& tensor : tensors) {
    const Layout layout = seed % 2 ? Layout::contiguous : Layout::sliced;
    const Input input(tensor.shape(), layout, table::Domain{-1, 1});
    result.push_back(table::place(table::draw({input}, ++seed)[0], layout, tensor.dtype()));
  }
  return result;
}

/// The point moved by h along a direction.
Tensors moved(const Tensors& point, const Tensors& direction, double h) {
  Tensors result;
  for (std::size_t i = 0; i < point.size(); ++i) {
    Array at = table::elements_of(point[i]);
    const Values by = table::elements_of(direction[i]).values;
    for (std::size_t k = 0; k < by.size(); ++k) at.values[k] += h * by[k];
    result.push_back(table::place(at, Layout::contiguous, float64));
  }
  return result;
}

constexpr double kStep = 1e-5;
/// Inputs are about 1: what is much smaller than this may be zero but for rounding.
constexpr double kRounding = 1e-3;

template <class F>
Values central_difference(const F& f, const Tensors& point, const Tensors& direction) {
  Values upper = flat(f(moved(point, direction, kStep)));
  const Values lower = flat(f(moved(point, direction, -kStep)));
  for (std::size_t i = 0; i < upper.size(); ++i) upper[i] = (upper[i] - lower[i]) / (2 * kStep);
  return upper;
}

/// J(x)^T g by vjp.
Tensors pulled_back(const Function& f, const Tensors& x, const Tensors& g) { return vjp(f, x).second(g); }
/// J(x) t by jvp.
Tensors pushed_forward(const Function& f, const Tensors& x, const Tensors& t) { return jvp(f, x, t).second; }

/// The gradients with respect to x and g of <J(x)^T g, d>, by autograd::grad twice: reverse over reverse.
std::pair<Values, Values> reverse_over_reverse(const Function& f, const Tensors& g, const Tensors& d) {
  Tensors x, weights, all;
  for (const Tensor& tensor : f.point()) x.push_back(tensor.detach().requires_grad_());
  for (const Tensor& tensor : g) weights.push_back(tensor.detach().requires_grad_());
  all = x;
  all.insert(all.end(), weights.begin(), weights.end());
  autograd::GradOptions options;
  options.grad_outputs = weights;
  options.create_graph = true;
  options.allow_unused = true;
  const Tensors first = autograd::grad(f(x), x, options);
  Tensors outputs;
  autograd::GradOptions again;
  for (std::size_t i = 0; i < first.size(); ++i)
    if (first[i].defined() && first[i].requires_grad()) {
      outputs.push_back(first[i]);
      again.grad_outputs.push_back(d[i]);
    }
  again.allow_unused = true;
  Tensors second(all.size());
  if (!outputs.empty()) second = autograd::grad(outputs, all, again);
  for (std::size_t i = 0; i < all.size(); ++i)
    if (!second[i].defined()) second[i] = zeros_like(all[i]);
  const auto middle = second.begin() + static_cast<std::ptrdiff_t>(x.size());
  return {flat(Tensors(second.begin(), middle)), flat(Tensors(middle, second.end()))};
}

std::string check_derivatives(const Row& row, const Case& sample) {
  const Tolerance accepted = tolerance(float64);
  const std::uint64_t seed = seed_of(row, sample);
  const Arrays arrays = table::draw(sample.inputs, seed);
  const Function f(sample, arrays, float64);
  const Tensors& x = f.point();
  const Tensors y = f(x);
  if (x.empty() || y.empty()) return {};
  const Values values = flat(y);
  // Where there is no value there is no derivative; the tests of kinks and special values know what is expected there.
  if (std::any_of(values.begin(), values.end(), [](double value) { return !std::isfinite(value); })) return {};
  const Tensors t = random_like(x, seed + 1), d = random_like(x, seed + 100), g = random_like(y, seed + 200);
  const auto judged = [&](const char* what, const Values& actual, const Values& expected, double tolerance_,
                          double scale) {
    const std::string problem =
        deviation(actual, expected, tolerance_, std::max({kRounding, scale, largest(expected)}));
    return problem.empty() ? "" : std::string(what) + ": " + problem;
  };
  const auto same_number = [&](const char* what, double actual, double expected, double scale) {
    return std::abs(actual - expected) <= accepted.identity * scale
               ? ""
               : std::string(what) + ": " + text(actual) + " and " + text(expected) + " at a scale of " + text(scale);
  };
  std::string problem;

  // First order.
  const auto [forward_y, forward_dy] = jvp(f, x, t);
  const auto [reverse_y, pullback] = vjp(f, x);
  const Values jt = flat(forward_dy), jg = flat(pullback(g)), tv = flat(t), gv = flat(g), dv = flat(d);
  if (!same_bits(flat(forward_y), values)) return "jvp changes the value";
  if (!same_bits(flat(reverse_y), values)) return "vjp changes the value";
  problem = judged("forward mode against differences", jt, central_difference(f, x, t), accepted.difference,
                   std::max(largest(values), largest(jt)));
  if (!problem.empty()) return problem;
  problem = same_number("<J t, g> against <t, J' g>", dot(jt, gv), dot(tv, jg),
                        std::max(norm(jt) * norm(gv), norm(tv) * norm(jg)));
  if (!problem.empty()) return problem;
  // Reverse mode directly, in a direction of its own.
  const Values difference_d = central_difference(f, x, d);
  if (std::abs(dot(jg, dv) - dot(gv, difference_d)) >
      accepted.difference * std::max({norm(jg) * norm(dv), norm(gv) * norm(difference_d), norm(gv) * largest(values)}))
    return "reverse mode against differences: " + text(dot(jg, dv)) + " instead of " + text(dot(gv, difference_d));

  // Second order: H d, where H is the Hessian of <f(x), g>.
  const auto gradient = [&](const Tensors& at) { return pulled_back(f, at, g); };
  const auto [hd, jd] = reverse_over_reverse(f, g, d);
  const Values difference = central_difference(gradient, x, d);
  const double scale = std::max({largest(hd), largest(jg), largest(difference)});
  problem = judged("reverse over reverse against differences", hd, difference, accepted.difference, scale);
  if (!problem.empty()) return problem;
  const Values forward_d = flat(pushed_forward(f, x, d));
  problem = judged("reverse over reverse, by the cotangent, against forward mode", jd, forward_d, accepted.identity,
                   largest(forward_d));
  if (!problem.empty()) return problem;
  problem = judged("forward over reverse against reverse over reverse", flat(jvp(gradient, x, d).second), hd,
                   accepted.identity, scale);
  if (!problem.empty()) return problem;
  const auto directional = [&](const Tensors& at) { return pushed_forward(f, at, d); };
  problem = judged("reverse over forward against reverse over reverse", flat(vjp(directional, x).second(g)), hd,
                   accepted.identity, scale);
  if (!problem.empty()) return problem;
  const Values dd = flat(jvp(directional, x, d).second);
  problem = same_number("forward over forward against reverse over reverse", dot(dd, gv), dot(hd, dv),
                        std::max({norm(dd) * norm(gv), norm(hd) * norm(dv), norm(forward_d) * norm(gv),
                                  kRounding * norm(dv) * norm(gv)}));
  if (!problem.empty()) return problem;

  // The same in float32.
  const Function single(sample, arrays, float32);
  const Tensors& x32 = single.point();
  const Tensors t32 = random_like(x32, seed + 1), d32 = random_like(x32, seed + 100),
                g32 = random_like(single(x32), seed + 200);
  const double looser = tolerance(float32).derivative;
  problem = judged("forward mode in float32", flat(pushed_forward(single, x32, t32)), jt, looser, largest(jt));
  if (!problem.empty()) return problem;
  problem = judged("reverse mode in float32", flat(pulled_back(single, x32, g32)), jg, looser, largest(jg));
  if (!problem.empty()) return problem;
  return judged("reverse over reverse in float32", reverse_over_reverse(single, g32, d32).first, hd, looser, scale);
}

/// The inputs as leaves that require grad, where they can.
Tensors leaves(const Case& sample, const Arrays& arrays) {
  Tensors inputs = place_all(sample, arrays, float64);
  for (Tensor& input : inputs)
    if (is_floating(input.dtype())) input.requires_grad_();
  return inputs;
}

enum class Look { never, between, always };

/// Results and gradients, computed together or not.
Arrays results_and_gradients(const Case& sample, const Arrays& arrays, Dtype dtype, std::uint64_t seed, Look look) {
  const Function f(sample, arrays, dtype);
  std::optional<EagerGuard> eager;
  if (look == Look::always) eager.emplace();
  Tensors x, outputs, cotangents;
  for (const Tensor& point : f.point()) x.push_back(point.detach().requires_grad_());
  Tensors all = f(x);
  if (look == Look::between) eval(all);
  for (const Tensor& y : all)
    if (y.requires_grad()) outputs.push_back(y);
  if (!outputs.empty()) {
    autograd::GradOptions options;
    options.grad_outputs = random_like(outputs, seed);
    options.allow_unused = true;
    for (const Tensor& gradient : autograd::grad(outputs, x, options))
      if (gradient.defined()) all.push_back(gradient);
  }
  eval(all);
  return elements_of(all);
}

}  // namespace

Failures derivatives(const Row& row) {
  const Threads one(1);  // more give the same bits, see values()
  Failures failures;
  for (const Case& sample : row.cases) {
    guarded(sample, "derivatives", failures, [&] { return check_derivatives(row, sample); });
    guarded(sample, "requires_grad", failures, [&]() -> std::string {
      const Tensors inputs = leaves(sample, table::draw(sample.inputs, 1));
      const bool any = std::any_of(inputs.begin(), inputs.end(), [](const Tensor& x) { return x.requires_grad(); });
      for (const Tensor& result : sample.call(inputs))
        if (result.requires_grad() != (any && is_floating(result.dtype())))
          return result.requires_grad() ? "an integer result requires grad" : "the result does not require grad";
      return {};
    });
  }
  return failures;
}

Failures bits(const Row& row, Dtype dtype) {
  Failures failures;
  for (const Case& sample : row.cases) {
    const std::uint64_t seed = seed_of(row, sample);
    const Arrays arrays = table::draw(sample.inputs, seed);
    guarded(sample, name_of(dtype), failures, [&]() -> std::string {
      const auto found = [&](int threads, Look look) {
        const Threads set(threads);
        return results_and_gradients(sample, arrays, dtype, seed + 1, look);
      };
      const Arrays expected = found(1, Look::never);
      if (!same_bits(found(1, Look::between), expected)) return "other bits when the results are looked at";
      if (!same_bits(found(1, Look::always), expected)) return "an EagerGuard changes the bits";
      std::int64_t largest = 0;
      for (const Array& array : expected) largest = std::max(largest, numel(array.shape));
      if (contracts(row) || largest < table::kLarge / 2) return {};  // smaller ones are left to one thread
      for (int threads : {2, 3, 4})
        if (!same_bits(found(threads, Look::never), expected))
          return "other bits with " + std::to_string(threads) + " threads";
      return {};
    });
  }
  return failures;
}

Failures refuses_derivatives(const Row& row) {
  Failures failures;
  for (const Case& sample : row.cases)
    guarded(sample, "requires_grad", failures, [&]() -> std::string {
      const Tensors inputs = leaves(sample, table::draw(sample.inputs, 1));
      for (const Tensor& result : sample.call(inputs)) {
        if (result.requires_grad()) return "the result requires grad";
        try {
          result.backward(ones_like(result));
        } catch (const AutogradError&) {
          continue;
        }
        return "backward() did not throw AutogradError";
      }
      return {};
    });
  return failures;
}

Failures assignments(const Row& row) {
  Failures failures;
  for (const Case& sample : row.cases) {
    if (sample.inputs.empty() || largest_input(sample) > 1100) continue;
    guarded(sample, "assignment", failures, [&]() -> std::string {
      const Arrays arrays = table::draw(sample.inputs, 1);
      Tensors inputs = leaves(sample, arrays);
      const NoGradGuard no_grad;
      const Arrays expected = elements_of(sample.call(inputs));
      for (Tensor& result : sample.call(inputs)) {
        if (result.requires_grad()) return "the result requires grad";
        result.fill_(1);
      }
      for (std::size_t i = 0; i < inputs.size(); ++i)
        if (!same_bits(table::elements_of(inputs[i]).values, arrays[i].values))
          return "assigning the result changes input " + std::to_string(i);
      const Tensors results = sample.call(inputs);
      for (Tensor& input : inputs) input.fill_(1);
      if (!same_bits(elements_of(results), expected)) return "assigning an input changes the result";
      return {};
    });
  }
  return failures;
}

// -- errors -----------------------------------------------------------------------------------------------------------

namespace {

/// What is wrong with what `action` throws; empty if it is right.
template <class Action>
std::string judge_error(const Action& action, table::ErrorKind kind, const std::vector<std::string>& mentions) {
  std::string message;
  bool right = false;
  try {
    action();
    return "nothing was thrown";
  } catch (const ShapeError& error) {
    right = kind == table::ErrorKind::shape;
    message = error.what();
  } catch (const DtypeError& error) {
    right = kind == table::ErrorKind::dtype;
    message = error.what();
  } catch (const ValueError& error) {
    right = kind == table::ErrorKind::value;
    message = error.what();
  } catch (const std::exception& error) {
    message = error.what();
  }
  if (!right) return std::string("not a ") + name_of(kind) + ": " + message;
  for (const std::string& part : mentions)
    if (message.find(part) == std::string::npos) return "'" + part + "' is not in the message: " + message;
  return {};
}

}  // namespace

Failures errors(const Row& row) {
  Failures failures;
  for (std::size_t i = 0; i < row.errors.size(); ++i) {
    const table::ErrorInput& input = row.errors[i];
    std::vector<std::string> mentions = input.mentions;
    mentions.push_back(row.name);
    std::string problem;
    if (input.when_computed) {
      Tensors recorded;
      try {
        recorded = input.call();
      } catch (const std::exception& error) {
        problem = std::string("threw when recorded: ") + error.what();
      }
      if (problem.empty()) problem = judge_error([&] { eval(recorded); }, input.kind, mentions);
    } else {
      problem = judge_error(input.call, input.kind, mentions);  // nobody looks
    }
    if (!problem.empty()) failures.push_back(row.name + ": error input " + std::to_string(i) + ": " + problem);
  }
  if (row.cases.empty()) return failures;
  const Case& sample = row.cases.front();
  const Arrays arrays = table::draw(sample.inputs, 1);
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    if (row.name == "linear" && i == 2) continue;  // an undefined bias is none
    Tensors inputs = place_all(sample, arrays, float64);
    inputs[i] = Tensor();
    const std::string problem =
        judge_error([&] { sample.call(inputs); }, table::ErrorKind::value, {row.name, "undefined"});
    if (!problem.empty()) failures.push_back(row.name + ": undefined input " + std::to_string(i) + ": " + problem);
  }
  return failures;
}

// -- coverage ---------------------------------------------------------------------------------------------------------

namespace {

/// A header without comments, preprocessor lines, and the insides of braces except those of `namespace adjoint`.
std::string declarations_of(const std::string& path) {
  std::ifstream file(path);
  std::string line, source;
  bool continued = false;
  while (std::getline(file, line)) {
    if (const std::size_t comment = line.find("//"); comment != std::string::npos) line.erase(comment);
    const bool directive = continued || line.find_first_not_of(" \t") == line.find('#');
    continued = directive && !line.empty() && line.back() == '\\';
    if (!directive || line.empty()) source += line + '\n';
  }
  std::string result;
  int depth = 0;
  for (std::size_t i = 0; i < source.size(); ++i) {
    bool opens = false;
    for (const std::string opening : {"namespace adjoint {", "namespace adjoint::nn {"})
      if (depth == 0 && source.compare(i, opening.size(), opening) == 0) {
        i += opening.size() - 1;
        opens = true;
        break;
      }
    if (opens) continue;
    // The default argument `{}` is no block.
    if (source.compare(i, 2, "{}") == 0) {
      ++i;
      continue;
    }
    if (source[i] == '{') ++depth;
    if (depth == 0) result += source[i];
    if (source[i] == '}' && depth > 0) --depth;
  }
  return result;
}

}  // namespace

std::vector<std::string> declared_operations(const std::string& include_directory) {
  std::vector<std::string> headers{include_directory + "/adjoint/random.hpp",
                                   include_directory + "/adjoint/nn/losses.hpp"};
  for (const auto& entry : std::filesystem::directory_iterator(include_directory + "/adjoint/ops"))
    headers.push_back(entry.path().string());
  const std::regex function(R"((?:^|\s)(?:Tensor|ValuesIndices|std::vector<Tensor>|TensorList|bool)\s+([A-Za-z_]\w*)\s*\()");
  const std::regex several(R"(ADJOINT_BINARY\((\w+)\))");
  std::set<std::string> names;
  for (const std::string& header : headers) {
    const std::string source = declarations_of(header);
    for (const std::regex* pattern : {&function, &several})
      for (std::sregex_iterator match(source.begin(), source.end(), *pattern), end; match != end; ++match)
        names.insert((*match)[1]);
  }
  return {names.begin(), names.end()};
}

Failures coverage(const std::vector<std::string>& declared, const std::vector<Row>& rows) {
  Failures failures;
  std::multiset<std::string> named;
  for (const Row& row : rows) named.insert(row.name);
  for (const std::string& name : declared) {
    if (named.count(name) == 0) failures.push_back(name + " has no row in the operation table");
    if (named.count(name) > 1) failures.push_back(name + " has more than one row in the operation table");
  }
  for (const Row& row : rows) {
    if (std::find(declared.begin(), declared.end(), row.name) == declared.end())
      failures.push_back(row.name + " has a row, but no public header declares it");
    if (row.cases.empty()) failures.push_back(row.name + " has a row without a single case");
  }
  return failures;
}

}  // namespace adjoint::check
