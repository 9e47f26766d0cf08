// At kinks, ties, infinities and NaN, values and subgradients are PyTorch's. The expectations come from PyTorch itself:
// tests/golden/ops/make_ops.py.
#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace ad = adjoint;
using ad::Tensor;

namespace {

using Tensors = std::vector<Tensor>;
using Function = std::function<Tensor(const Tensors&)>;

template <Tensor (*Operation)(const Tensor&)>
Tensor unary(const Tensors& x) {
  return Operation(x[0]);
}
template <Tensor (*Operation)(const Tensor&, const Tensor&)>
Tensor binary(const Tensors& x) {
  return Operation(x[0], x[1]);
}
template <Tensor (*Operation)(const Tensor&, const ad::DimArg&, bool)>
Tensor along(const Tensors& x) {
  return Operation(x[0], 1, false);
}

/// By the names that make_ops.py gives.
const std::map<std::string, Function>& functions() {
  static const std::map<std::string, Function> all{
      {"points: neg", unary<ad::neg>},
      {"points: abs", unary<ad::abs>},
      {"points: sign", unary<ad::sign>},
      {"points: relu", unary<ad::relu>},
      {"points: floor", unary<ad::floor>},
      {"points: ceil", unary<ad::ceil>},
      {"points: round", unary<ad::round>},
      {"points: square", unary<ad::square>},
      {"points: reciprocal", unary<ad::reciprocal>},
      {"points: sqrt", unary<ad::sqrt>},
      {"points: rsqrt", unary<ad::rsqrt>},
      {"points: exp", unary<ad::exp>},
      {"points: expm1", unary<ad::expm1>},
      {"points: log", unary<ad::log>},
      {"points: log1p", unary<ad::log1p>},
      {"points: sigmoid", unary<ad::sigmoid>},
      {"points: tanh", unary<ad::tanh>},
      {"points: erf", unary<ad::erf>},
      {"points: lgamma", unary<ad::lgamma>},
      {"points: digamma", unary<ad::digamma>},
      {"points: polygamma(0, x)", [](const Tensors& x) { return ad::polygamma(0, x[0]); }},
      {"points: polygamma(1, x)", [](const Tensors& x) { return ad::polygamma(1, x[0]); }},
      {"points: polygamma(2, x)", [](const Tensors& x) { return ad::polygamma(2, x[0]); }},
      {"points: polygamma(3, x)", [](const Tensors& x) { return ad::polygamma(3, x[0]); }},
      {"points: sin", unary<ad::sin>},
      {"points: cos", unary<ad::cos>},
      {"points: tan", unary<ad::tan>},
      {"points: log2", unary<ad::log2>},
      {"points: asin", unary<ad::asin>},
      {"points: acos", unary<ad::acos>},
      {"points: atan", unary<ad::atan>},
      {"points: sinh", unary<ad::sinh>},
      {"points: cosh", unary<ad::cosh>},
      {"points: atan2(x, 2)", [](const Tensors& x) { return ad::atan2(x[0], 2); }},
      {"points: silu", unary<ad::silu>},
      {"points: gelu", unary<ad::gelu>},
      {"points: softplus", unary<ad::softplus>},
      {"points: isnan", unary<ad::isnan>},
      {"points: isinf", unary<ad::isinf>},
      {"points: isfinite", unary<ad::isfinite>},
      {"points: logical_not", unary<ad::logical_not>},
      {"points: clamp(x, -1, 1)", [](const Tensors& x) { return ad::clamp(x[0], -1, 1); }},
      {"points: clamp(x, -1)", [](const Tensors& x) { return ad::clamp(x[0], -1); }},
      {"points: clamp(x, {}, 1)", [](const Tensors& x) { return ad::clamp(x[0], {}, 1); }},
      {"points: clamp(x, 1, -1)", [](const Tensors& x) { return ad::clamp(x[0], 1, -1); }},
      {"points: pow(x, 0)", [](const Tensors& x) { return ad::pow(x[0], 0); }},
      {"points: pow(x, 0.5)", [](const Tensors& x) { return ad::pow(x[0], 0.5); }},
      {"points: pow(x, 1)", [](const Tensors& x) { return ad::pow(x[0], 1); }},
      {"points: pow(x, 2)", [](const Tensors& x) { return ad::pow(x[0], 2); }},
      {"points: pow(x, 3)", [](const Tensors& x) { return ad::pow(x[0], 3); }},
      {"points: pow(x, -1)", [](const Tensors& x) { return ad::pow(x[0], -1); }},
      {"points: pow(0, x)", [](const Tensors& x) { return ad::pow(0, x[0]); }},
      {"points: pow(2, x)", [](const Tensors& x) { return ad::pow(2, x[0]); }},
      {"points: where(x > 0, log(x), 0)", [](const Tensors& x) { return ad::where(x[0] > 0, ad::log(x[0]), 0); }},
      {"points: gelu_tanh", unary<ad::gelu_tanh>},
      {"points: elu", [](const Tensors& x) { return ad::elu(x[0]); }},
      {"points: elu(x, 0.5)", [](const Tensors& x) { return ad::elu(x[0], 0.5); }},
      {"points: leaky_relu", [](const Tensors& x) { return ad::leaky_relu(x[0]); }},
      {"points: leaky_relu(x, 0.25)", [](const Tensors& x) { return ad::leaky_relu(x[0], 0.25); }},
      {"points: hardtanh", [](const Tensors& x) { return ad::hardtanh(x[0]); }},
      {"points: hardtanh(x, 0, 2)", [](const Tensors& x) { return ad::hardtanh(x[0], 0, 2); }},
      {"points: hardtanh(x, 0.5, 2.5)", [](const Tensors& x) { return ad::hardtanh(x[0], 0.5, 2.5); }},
      {"pairs: add", binary<ad::add>},
      {"pairs: sub", binary<ad::sub>},
      {"pairs: mul", binary<ad::mul>},
      {"pairs: div", binary<ad::div>},
      {"pairs: atan2", binary<ad::atan2>},
      {"pairs: pow", binary<ad::pow>},
      {"pairs: maximum", binary<ad::maximum>},
      {"pairs: minimum", binary<ad::minimum>},
      {"pairs: eq", binary<ad::eq>},
      {"pairs: ne", binary<ad::ne>},
      {"pairs: lt", binary<ad::lt>},
      {"pairs: le", binary<ad::le>},
      {"pairs: gt", binary<ad::gt>},
      {"pairs: ge", binary<ad::ge>},
      {"pairs: logical_and", binary<ad::logical_and>},
      {"pairs: logical_or", binary<ad::logical_or>},
      {"pairs: logical_xor", binary<ad::logical_xor>},
      {"rows: sum", along<ad::sum>},
      {"rows: prod", along<ad::prod>},
      {"rows: cumsum", [](const Tensors& x) { return ad::cumsum(x[0], 1); }},
      {"rows: norm", [](const Tensors& x) { return ad::norm(x[0], 2, 1); }},
      {"rows: norm 2", [](const Tensors& x) { return ad::norm(x[0], 2, 1); }},
      {"rows: norm 1", [](const Tensors& x) { return ad::norm(x[0], 1, 1); }},
      {"rows: norm 0", [](const Tensors& x) { return ad::norm(x[0], 0, 1); }},
      {"rows: norm 3", [](const Tensors& x) { return ad::norm(x[0], 3, 1); }},
      {"rows: norm 0.5", [](const Tensors& x) { return ad::norm(x[0], 0.5, 1); }},
      {"rows: norm 1.5", [](const Tensors& x) { return ad::norm(x[0], 1.5, 1); }},
      {"rows: norm -1", [](const Tensors& x) { return ad::norm(x[0], -1, 1); }},
      {"rows: norm inf", [](const Tensors& x) { return ad::norm(x[0], HUGE_VAL, 1); }},
      {"rows: norm -inf", [](const Tensors& x) { return ad::norm(x[0], -HUGE_VAL, 1); }},
      {"rows: mean", along<ad::mean>},
      {"rows: var", [](const Tensors& x) { return ad::var(x[0], 1); }},
      {"rows: std", [](const Tensors& x) { return ad::std(x[0], 1); }},
      {"rows: amax", along<ad::amax>},
      {"rows: amin", along<ad::amin>},
      {"rows: max values", [](const Tensors& x) { return ad::max(x[0], 1).values; }},
      {"rows: max indices", [](const Tensors& x) { return ad::max(x[0], 1).indices; }},
      {"rows: min values", [](const Tensors& x) { return ad::min(x[0], 1).values; }},
      {"rows: min indices", [](const Tensors& x) { return ad::min(x[0], 1).indices; }},
      {"rows: argmax", [](const Tensors& x) { return ad::argmax(x[0], 1); }},
      {"rows: argmin", [](const Tensors& x) { return ad::argmin(x[0], 1); }},
      {"rows: any", along<ad::any>},
      {"rows: all", along<ad::all>},
      {"rows: logsumexp", along<ad::logsumexp>},
      {"rows: softmax", [](const Tensors& x) { return ad::softmax(x[0], 1); }},
      {"rows: log_softmax", [](const Tensors& x) { return ad::log_softmax(x[0], 1); }},
      {"all: max", unary<ad::max>},
      {"all: min", unary<ad::min>},
      {"all: argmax", [](const Tensors& x) { return ad::argmax(x[0]); }},
      {"all: argmin", [](const Tensors& x) { return ad::argmin(x[0]); }},
  };
  return all;
}

/// Some groups call the same functions on other inputs.
Function function_of(const std::string& name) {
  const std::size_t colon = name.find(": ");
  const std::string group = name.substr(0, colon);
  const std::map<std::string, std::string> same{
      {"nothing", "rows"}, {"zeros", "rows"}, {"one", "rows"}, {"all with NaN", "all"}};
  const auto other = same.find(group);
  const auto found = functions().find((other == same.end() ? group : other->second) + name.substr(colon));
  return found == functions().end() ? Function() : found->second;
}

/// Where we differ from PyTorch on purpose.
struct Deviation {
  const char *name, *key;
  std::set<std::int64_t> elements;
  const char* reason;
};
const std::vector<Deviation>& deviations() {
  const char* limits =
      "at its limits PyTorch's derivative was 1 up to 2.14, ours is; NaN is handed on to all that follows";
  const char* root = "PyTorch takes sqrt for this exponent; ours is C's pow";
  const char* mask = "PyTorch differentiates its mask into NaN";
  const char* share = "max and amax are one operation: NaN share the derivative, as in PyTorch's max";
  const char* mean = "infinity meets its negative in the derivative by way of the mean";
  const char* side = "the second derivative is that of the side to which the first one belongs";
  const char* divided = "PyTorch divides by what is zero or infinite here";
  const char* trigamma = "PyTorch's first derivative of digamma is right to 1e-11, and finite at its poles";
  const char* ends = "at infinity PyTorch's further derivatives of digamma are NaN, and infinite at minus infinity";
  const std::set<std::int64_t> finite{1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13};
  static const std::vector<Deviation> list{
      {"points: lgamma", "second", finite, trigamma},
      {"points: digamma", "gradient0", finite, trigamma},
      {"points: digamma", "second", {0, 15}, ends},
      {"points: polygamma(0, x)", "gradient0", finite, trigamma},
      {"points: polygamma(0, x)", "second", {0, 15}, ends},
      {"points: polygamma(1, x)", "value", finite, trigamma},
      {"points: polygamma(1, x)", "gradient0", {0, 15}, ends},
      {"points: polygamma(1, x)", "second", {0, 15}, ends},
      {"points: polygamma(2, x)", "value", {0, 15}, ends},
      {"points: polygamma(2, x)", "gradient0", {0, 15}, ends},
      {"points: polygamma(2, x)", "second", {0, 15}, ends},
      {"points: polygamma(3, x)", "value", {0, 15}, ends},
      {"points: polygamma(3, x)", "gradient0", {0, 15}, ends},
      {"points: polygamma(3, x)", "second", {0, 15}, ends},
      {"points: elu", "second", {7, 8}, side},
      {"points: elu(x, 0.5)", "second", {7, 8}, side},
      {"rows: prod", "second", {8, 12, 14, 20, 21, 22, 23}, divided},
      {"rows: norm", "second", {32, 33, 34, 35}, divided},
      {"rows: norm 2", "second", {32, 33, 34, 35}, divided},
      {"rows: norm 3", "second", {9, 13}, divided},
      {"rows: norm 1.5", "second", {9, 13, 32, 33, 34, 35}, divided},
      {"rows: norm 0.5", "gradient0", {9, 13}, divided},
      {"rows: norm 0.5", "second", {9, 10, 11, 13, 15, 32, 33, 34, 35}, divided},
      {"rows: norm -1", "gradient0", {20, 21, 22, 23}, divided},
      {"rows: norm -1", "second", {9, 13, 20, 21, 22, 23, 32, 33, 34, 35}, divided},
      {"points: clamp(x, -1)", "gradient0", {5, 16}, limits},
      {"points: clamp(x, -1, 1)", "gradient0", {5, 10, 16}, limits},
      {"points: clamp(x, {}, 1)", "gradient0", {10, 16}, limits},
      {"points: clamp(x, 1, -1)", "gradient0", {16}, limits},
      {"points: pow(x, 0.5)", "value", {0}, root},
      {"points: pow(x, 0.5)", "gradient0", {0}, root},
      {"points: pow(0, x)", "second", {7, 8, 9, 10, 11, 12, 13, 14, 15}, mask},
      {"rows: amax", "gradient0", {16, 17, 18, 19}, share},
      {"rows: amin", "gradient0", {16, 17, 18, 19}, share},
      {"rows: var", "gradient0", {9, 10, 11, 13, 15}, mean},
  };
  return list;
}

/// Where the two differ; empty if nowhere.
std::string difference(const std::string& name, const std::string& key, const Tensor& actual, const Tensor& expected,
                       const Tensors& inputs) {
  if (actual.shape() != expected.shape()) return "shape " + to_string(actual.shape());
  const Tensor a = ad::cast(actual, ad::float64), e = ad::cast(expected, ad::float64);
  const double *pa = a.data<double>(), *pe = e.data<double>();
  std::string result;
  std::set<std::int64_t> accepted;
  for (const Deviation& deviation : deviations())
    if (deviation.name == name && deviation.key == key) accepted = deviation.elements;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    if (std::isnan(pa[i]) ? std::isnan(pe[i]) : pa[i] == pe[i]) continue;
    if (std::abs(pa[i] - pe[i]) <= 1e-13 * std::max(1.0, std::abs(pe[i]))) continue;
    if (accepted.erase(i)) continue;
    result += " [" + std::to_string(i) + "]";
    for (const Tensor& input : inputs)
      if (input.numel() == a.numel()) result += " " + std::to_string(input.data<double>()[i]);
    result += ": " + std::to_string(pa[i]) + " instead of " + std::to_string(pe[i]) + ";";
  }
  for (std::int64_t i : accepted) result += " [" + std::to_string(i) + "] does not deviate any more;";
  return result;
}

}  // namespace

TEST_CASE("values and derivatives at special points are PyTorch's") {
  const ad::StateDict golden = ad::io::load_safetensors(ADJOINT_SOURCE_DIR "/tests/golden/ops/special.safetensors");
  std::map<std::string, std::map<std::string, Tensor>> answers;
  for (const auto& [key, tensor] : golden) {
    const std::size_t slash = key.rfind('/');
    answers[key.substr(0, slash)][key.substr(slash + 1)] = tensor;
  }
  CHECK(answers.size() >= functions().size());
  for (const auto& [name, expected] : answers) {
    CAPTURE(name);
    const Function f = function_of(name);
    REQUIRE(f);
    Tensors x;
    for (int i = 0; expected.count("input" + std::to_string(i)); ++i)
      x.push_back(Tensor(expected.at("input" + std::to_string(i))).requires_grad_());
    const Tensor y = f(x);
    CHECK(difference(name, "value", y, expected.at("value"), x) == "");
    CHECK(y.requires_grad() == (expected.count("gradient0") > 0));
    if (!y.requires_grad()) continue;
    ad::autograd::GradOptions options;
    options.grad_outputs = {ad::ones_like(y)};
    options.create_graph = true;
    const Tensors first = ad::autograd::grad({y}, x, options);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::string key = "gradient" + std::to_string(i);
      CAPTURE(key);
      CHECK(difference(name, key, first[i], expected.at(key), x) == "");
    }
    if (!expected.count("second")) continue;
    Tensor second;
    if (first[0].requires_grad()) {
      options.grad_outputs = {ad::ones_like(first[0])};
      options.allow_unused = true;
      second = ad::autograd::grad({first[0]}, x, options)[0];
    }
    CHECK(difference(name, "second", second.defined() ? second : ad::zeros_like(x[0]), expected.at("second"), x) == "");
  }
}

// -- what the headers say, one by one
// -----------------------------------------------------------------------------------

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(), kNaN = std::numeric_limits<double>::quiet_NaN();

using Values = std::vector<double>;

bool same(const Values& a, const Values& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

/// The gradients of the sum of f, in reverse mode, and that forward mode agrees with their sum.
std::vector<Values> gradients(const Function& f, const std::vector<Values>& inputs, ad::Dtype dtype) {
  Tensors x, ones;
  for (const Values& values : inputs) {
    x.push_back(ad::cast(ad::tensor(values), dtype));
    ones.push_back(ad::ones_like(x.back()));
  }
  const auto total = [&](const Tensors& at) { return ad::sum(f(at)); };
  const auto [y, pullback] = ad::vjp(total, x);
  std::vector<Values> result;
  double sum = 0;
  for (const Tensor& gradient : pullback(ad::ones_like(y))) {
    result.push_back(ad::cast(gradient, ad::float64).to_vector<double>());
    for (double value : result.back()) sum += value;
  }
  const double forward = ad::jvp(total, x, ones).second.item<double>();
  CHECK(same({forward}, {sum}));
  return result;
}

}  // namespace

TEST_CASE("the documented subgradients, in both modes and dtypes") {
  struct Expectation {
    std::string name;
    Function f;
    std::vector<Values> at, gradients;
  };
  const auto along_zero = [](auto operation) { return [operation](const Tensors& x) { return operation(x[0]); }; };
  const std::vector<Expectation> expectations{
      {"abs'(0) = 0", unary<ad::abs>, {{0, -0.0}}, {{0, 0}}},
      {"sign' = 0", unary<ad::sign>, {{-1, 0, 2}}, {{0, 0, 0}}},
      {"relu'(0) = 0", unary<ad::relu>, {{-1, 0, 1}}, {{0, 0, 1}}},
      {"floor' = ceil' = round' = 0",
       [](const Tensors& x) { return ad::floor(x[0]) + ad::ceil(x[0]) + ad::round(x[0]); },
       {{-1, -0.5, 0, 0.5}},
       {{0, 0, 0, 0}}},
      {"clamp' = 1 at the limits",
       [](const Tensors& x) { return ad::clamp(x[0], -1, 1); },
       {{-2, -1, 0, 1, 2}},
       {{0, 1, 1, 1, 0}}},
      {"hardtanh' = 0 at the limits",
       [](const Tensors& x) { return ad::hardtanh(x[0]); },
       {{-2, -1, 0, 1, 2}},
       {{0, 0, 1, 0, 0}}},
      {"elu'(0) = alpha", [](const Tensors& x) { return ad::elu(x[0], 0.5); }, {{0, -0.0, 3}}, {{0.5, 0.5, 1}}},
      {"leaky_relu'(0) = slope", [](const Tensors& x) { return ad::leaky_relu(x[0], 0.5); }, {{0, 2}}, {{0.5, 1}}},
      {"norm' = 0 at 0", [](const Tensors& x) { return ad::norm(x[0]); }, {{0, 0}}, {{0, 0}}},
      {"norm' = 0 at 0 for any p", [](const Tensors& x) { return ad::norm(x[0], 0.5); }, {{0, 4}}, {{0, 1}}},
      {"prod' with zeros", [](const Tensors& x) { return ad::prod(x[0]); }, {{3, 0, 5}}, {{0, 15, 0}}},
      {"atan2' = 0 at the origin", binary<ad::atan2>, {{0, 4}, {0, 0}}, {{0, 0}, {0, -0.25}}},
      {"maximum shares ties", binary<ad::maximum>, {{1, 2, 3}, {2, 2, 2}}, {{0, 0.5, 1}, {1, 0.5, 0}}},
      {"minimum shares ties", binary<ad::minimum>, {{1, 2, 3}, {2, 2, 2}}, {{1, 0.5, 0}, {0, 0.5, 1}}},
      {"maximum shares infinities", binary<ad::maximum>, {{kInf, -kInf}, {kInf, -kInf}}, {{0.5, 0.5}, {0.5, 0.5}}},
      {"amax shares ties",
       along_zero([](const Tensor& x) { return ad::amax(x, 0); }),
       {{4, 1, 4, 4, 4}},
       {{0.25, 0, 0.25, 0.25, 0.25}}},
      {"amin shares ties",
       along_zero([](const Tensor& x) { return ad::amin(x, 0); }),
       {{4, 1, 4, 1}},
       {{0, 0.5, 0, 0.5}}},
      {"max shares ties", unary<ad::max>, {{4, 1, 4}}, {{0.5, 0, 0.5}}},
      {"min shares ties", unary<ad::min>, {{1, 4, 1}}, {{0.5, 0, 0.5}}},
      {"max over a dim: the first",
       along_zero([](const Tensor& x) { return ad::max(x, 0).values; }),
       {{1, 4, 4}},
       {{0, 1, 0}}},
      {"min over a dim: the first",
       along_zero([](const Tensor& x) { return ad::min(x, 0).values; }),
       {{4, 1, 1}},
       {{0, 1, 0}}},
      {"sqrt'(0) = inf", unary<ad::sqrt>, {{0}}, {{kInf}}},
      {"std' = 0 at 0", along_zero([](const Tensor& x) { return ad::std(x, 0); }), {{3, 3, 3}}, {{0, 0, 0}}},
      {"d/da a^b at 0", binary<ad::pow>, {{0, 0, 0, 0}, {0, 1, 2, 0.5}}, {{0, 1, 0, kInf}, {0, 0, 0, 0}}},
      {"d/db 0^b is 0 for b >= 0, else infinite", binary<ad::pow>, {{0, 0}, {2, -1}}, {{0, -kInf}, {0, -kInf}}},
      {"log'(0) = inf", unary<ad::log>, {{0}}, {{kInf}}},
      {"reciprocal'(0) = -inf", unary<ad::reciprocal>, {{0}}, {{-kInf}}},
      {"NaN is handed on",
       [](const Tensors& x) { return ad::tanh(x[0]) * x[1]; },
       {{kNaN, 0}, {1, kNaN}},
       {{kNaN, kNaN}, {kNaN, 0}}},
  };
  for (const Expectation& e : expectations)
    for (ad::Dtype dtype : {ad::float64, ad::float32}) {
      CAPTURE(e.name);
      CAPTURE(dtype);
      const std::vector<Values> actual = gradients(e.f, e.at, dtype);
      REQUIRE(actual.size() == e.gradients.size());
      for (std::size_t i = 0; i < actual.size(); ++i) {
        CAPTURE(i);
        CAPTURE(ad::to_string(ad::tensor(actual[i])));
        CHECK(same(actual[i], e.gradients[i]));
      }
    }
}

TEST_CASE("where hides a value, but in reverse mode zero times an infinite derivative is NaN, as in PyTorch") {
  const auto f = [](const Tensor& x) { return ad::where(x > 0, ad::sqrt(x), 0); };
  const Tensor x = ad::tensor({0.0, 4.0}, ad::float64);
  CHECK(same(f(x).to_vector<double>(), {0, 2}));
  CHECK(same(ad::vjp(f, {x}).second(ad::ones_like(x))[0].to_vector<double>(), {kNaN, 0.25}));
  CHECK(same(ad::jvp(f, {x}, {ad::ones_like(x)}).second.to_vector<double>(), {0, 0.25}));
}

TEST_CASE("large arguments overflow nothing on the way") {
  for (ad::Dtype dtype : {ad::float64, ad::float32}) {
    CAPTURE(dtype);
    const double large = dtype == ad::float64 ? 1e300 : 1e30;
    struct Expectation {
      std::string name;
      Function f;
      Values at, values, gradients;
    };
    const std::vector<Expectation> expectations{
        {"sigmoid", unary<ad::sigmoid>, {-large, large, -kInf, kInf}, {0, 1, 0, 1}, {0, 0, 0, 0}},
        {"tanh", unary<ad::tanh>, {-large, large, -kInf, kInf}, {-1, 1, -1, 1}, {0, 0, 0, 0}},
        {"softplus", unary<ad::softplus>, {-large, large, -kInf, kInf}, {0, large, 0, kInf}, {0, 1, 0, 1}},
        {"silu", unary<ad::silu>, {-large, large}, {0, large}, {0, 1}},
        {"gelu", unary<ad::gelu>, {-large, large}, {0, large}, {0, 1}},
        {"elu",
         [](const Tensors& x) { return ad::elu(x[0]); },
         {-large, large, -kInf, kInf},
         {-1, large, -1, kInf},
         {0, 1, 0, 1}},
        {"softmax", [](const Tensors& x) { return ad::softmax(x[0], 0); }, {large, -large, 0}, {1, 0, 0}, {0, 0, 0}},
        {"log_softmax",
         [](const Tensors& x) { return ad::log_softmax(x[0], 0); },
         {large, -large / 2, 0},
         {0, -1.5 * large, -large},
         {-2, 1, 1}},
        {"logsumexp", [](const Tensors& x) { return ad::logsumexp(x[0], 0); }, {large, -large}, {large}, {1, 0}},
        {"logsumexp of nothing likely",
         [](const Tensors& x) { return ad::logsumexp(x[0], 0); },
         {-kInf, -large},
         {-large},
         {0, 1}},
    };
    for (const Expectation& e : expectations) {
      CAPTURE(e.name);
      const Values gradient = gradients(e.f, {e.at}, dtype)[0];
      const Tensor value = ad::cast(e.f({ad::cast(ad::tensor(e.at), dtype)}), ad::float64);
      CAPTURE(value);
      CAPTURE(ad::tensor(gradient));
      CHECK(ad::allclose(value, ad::tensor(e.values), 1e-6, 0));
      CHECK(same(gradient, e.gradients));
    }
  }
}

TEST_CASE("what is small stays exact") {
  struct Expectation {
    std::string name;
    Function f;
    double (*oracle)(double);
  };
  const std::vector<Expectation> expectations{
      {"expm1", unary<ad::expm1>, std::expm1}, {"log1p", unary<ad::log1p>, std::log1p},
      {"sin", unary<ad::sin>, std::sin},       {"tan", unary<ad::tan>, std::tan},
      {"tanh", unary<ad::tanh>, std::tanh},    {"erf", unary<ad::erf>, std::erf},
      {"asin", unary<ad::asin>, std::asin},    {"atan", unary<ad::atan>, std::atan},
      {"sinh", unary<ad::sinh>, std::sinh},
  };
  for (const Expectation& e : expectations)
    for (double x : {1e-12, -3e-9, 1e-30, 5e-5, -2e-3})
      for (ad::Dtype dtype : {ad::float64, ad::float32}) {
        CAPTURE(e.name);
        CAPTURE(x);
        const double rounded = dtype == ad::float32 ? static_cast<float>(x) : x, expected = e.oracle(rounded);
        const double actual = e.f({ad::full({}, x, dtype)}).item<double>();
        CHECK(std::abs(actual - expected) <= (dtype == ad::float32 ? 3e-7 : 5e-16) * std::abs(expected));
      }
}
