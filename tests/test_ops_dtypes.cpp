// Which dtypes results have. The expectations come from PyTorch: tests/golden/ops/make_ops.py.
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
using ad::Dtype;
using ad::Scalar;
using ad::Tensor;

namespace {

constexpr Dtype kDtypes[] = {ad::float32, ad::float64, ad::int64, ad::int32, ad::uint8, ad::bool_};
constexpr std::int64_t kRefused = -1;

using Unary = std::function<Tensor(const Tensor&)>;
using Binary = std::function<Tensor(const Tensor&, const Tensor&)>;
using WithNumber = std::function<Tensor(const Tensor&, Scalar)>;

const std::map<std::string, Unary>& unary_functions() {
  static const std::map<std::string, Unary> all{
      {"neg", ad::neg},
      {"abs", ad::abs},
      {"sign", ad::sign},
      {"relu", ad::relu},
      {"floor", ad::floor},
      {"ceil", ad::ceil},
      {"round", ad::round},
      {"square", ad::square},
      {"reciprocal", ad::reciprocal},
      {"sqrt", ad::sqrt},
      {"rsqrt", ad::rsqrt},
      {"exp", ad::exp},
      {"expm1", ad::expm1},
      {"log", ad::log},
      {"log1p", ad::log1p},
      {"sigmoid", ad::sigmoid},
      {"tanh", ad::tanh},
      {"erf", ad::erf},
      {"lgamma", ad::lgamma},
      {"digamma", ad::digamma},
      {"polygamma(0, x)", [](const Tensor& x) { return ad::polygamma(0, x); }},
      {"polygamma(1, x)", [](const Tensor& x) { return ad::polygamma(1, x); }},
      {"polygamma(2, x)", [](const Tensor& x) { return ad::polygamma(2, x); }},
      {"polygamma(3, x)", [](const Tensor& x) { return ad::polygamma(3, x); }},
      {"sin", ad::sin},
      {"cos", ad::cos},
      {"tan", ad::tan},
      {"log2", ad::log2},
      {"asin", ad::asin},
      {"acos", ad::acos},
      {"atan", ad::atan},
      {"sinh", ad::sinh},
      {"cosh", ad::cosh},
      {"atan2(x, 2)", [](const Tensor& x) { return ad::atan2(x, 2); }},
      {"silu", ad::silu},
      {"gelu", ad::gelu},
      {"softplus", ad::softplus},
      {"gelu_tanh", ad::gelu_tanh},
      {"elu", [](const Tensor& x) { return ad::elu(x); }},
      {"elu(x, 0.5)", [](const Tensor& x) { return ad::elu(x, 0.5); }},
      {"leaky_relu", [](const Tensor& x) { return ad::leaky_relu(x); }},
      {"leaky_relu(x, 0.25)", [](const Tensor& x) { return ad::leaky_relu(x, 0.25); }},
      {"hardtanh", [](const Tensor& x) { return ad::hardtanh(x); }},
      {"hardtanh(x, 0, 2)", [](const Tensor& x) { return ad::hardtanh(x, 0, 2); }},
      {"hardtanh(x, 0.5, 2.5)", [](const Tensor& x) { return ad::hardtanh(x, 0.5, 2.5); }},
      {"tril", [](const Tensor& x) { return ad::tril(x); }},
      {"triu", [](const Tensor& x) { return ad::triu(x); }},
      {"isnan", ad::isnan},
      {"isinf", ad::isinf},
      {"isfinite", ad::isfinite},
      {"logical_not", ad::logical_not},
      {"clamp(x, -1, 1)", [](const Tensor& x) { return ad::clamp(x, -1, 1); }},
      {"clamp(x, 1, -1)", [](const Tensor& x) { return ad::clamp(x, 1, -1); }},
      {"clamp(x, -1)", [](const Tensor& x) { return ad::clamp(x, -1); }},
      {"clamp(x, {}, 1)", [](const Tensor& x) { return ad::clamp(x, {}, 1); }},
      {"clamp(x, 0.5)", [](const Tensor& x) { return ad::clamp(x, 0.5); }},
      {"pow(x, 0)", [](const Tensor& x) { return ad::pow(x, 0.0); }},
      {"pow(x, 0.5)", [](const Tensor& x) { return ad::pow(x, 0.5); }},
      {"pow(x, 1)", [](const Tensor& x) { return ad::pow(x, 1.0); }},
      {"pow(x, 2)", [](const Tensor& x) { return ad::pow(x, 2.0); }},
      {"pow(x, 3)", [](const Tensor& x) { return ad::pow(x, 3.0); }},
      {"pow(x, -1)", [](const Tensor& x) { return ad::pow(x, -1.0); }},
      {"pow(0, x)", [](const Tensor& x) { return ad::pow(0.0, x); }},
      {"pow(2, x)", [](const Tensor& x) { return ad::pow(2.0, x); }},
      {"sum", [](const Tensor& x) { return ad::sum(x, 1); }},
      {"prod", [](const Tensor& x) { return ad::prod(x, 1); }},
      {"cumsum", [](const Tensor& x) { return ad::cumsum(x, 1); }},
      {"norm", [](const Tensor& x) { return ad::norm(x, 2, 1); }},
      {"norm 2", [](const Tensor& x) { return ad::norm(x, 2, 1); }},
      {"norm 1", [](const Tensor& x) { return ad::norm(x, 1, 1); }},
      {"norm 0", [](const Tensor& x) { return ad::norm(x, 0, 1); }},
      {"norm 3", [](const Tensor& x) { return ad::norm(x, 3, 1); }},
      {"norm 0.5", [](const Tensor& x) { return ad::norm(x, 0.5, 1); }},
      {"norm 1.5", [](const Tensor& x) { return ad::norm(x, 1.5, 1); }},
      {"norm -1", [](const Tensor& x) { return ad::norm(x, -1, 1); }},
      {"norm inf", [](const Tensor& x) { return ad::norm(x, HUGE_VAL, 1); }},
      {"norm -inf", [](const Tensor& x) { return ad::norm(x, -HUGE_VAL, 1); }},
      {"mean", [](const Tensor& x) { return ad::mean(x, 1); }},
      {"var", [](const Tensor& x) { return ad::var(x, 1); }},
      {"std", [](const Tensor& x) { return ad::std(x, 1); }},
      {"amax", [](const Tensor& x) { return ad::amax(x, 1); }},
      {"amin", [](const Tensor& x) { return ad::amin(x, 1); }},
      {"max values", [](const Tensor& x) { return ad::max(x, 1).values; }},
      {"max indices", [](const Tensor& x) { return ad::max(x, 1).indices; }},
      {"min values", [](const Tensor& x) { return ad::min(x, 1).values; }},
      {"min indices", [](const Tensor& x) { return ad::min(x, 1).indices; }},
      {"argmax", [](const Tensor& x) { return ad::argmax(x, 1); }},
      {"argmin", [](const Tensor& x) { return ad::argmin(x, 1); }},
      {"any", [](const Tensor& x) { return ad::any(x, 1); }},
      {"all", [](const Tensor& x) { return ad::all(x, 1); }},
      {"logsumexp", [](const Tensor& x) { return ad::logsumexp(x, 1); }},
      {"softmax", [](const Tensor& x) { return ad::softmax(x, 1); }},
      {"log_softmax", [](const Tensor& x) { return ad::log_softmax(x, 1); }},
      {"x[i]", [](const Tensor& x) { return x[ad::tensor({0})]; }},
      {"x[mask]",
       [](const Tensor& x) {
         return x[ad::tensor({true, false})];
       }},
      {"masked_select",
       [](const Tensor& x) {
         return ad::masked_select(x, ad::tensor({true, false}));
       }},
      {"nonzero", ad::nonzero},
      {"take_along_dim", [](const Tensor& x) { return ad::take_along_dim(x, ad::tensor({0})); }},
      {"scatter(x, i, 1)", [](const Tensor& x) { return ad::scatter(x, 0, ad::tensor({{0}}), 1); }},
      {"scatter(x, i, 1.5)", [](const Tensor& x) { return ad::scatter(x, 0, ad::tensor({{0}}), 1.5); }},
      {"pad",
       [](const Tensor& x) {
         return ad::pad(x, {1, 1});
       }},
      {"pad with 1.5",
       [](const Tensor& x) {
         return ad::pad(x, {1, 1}, ad::PadMode::constant, 1.5);
       }},
      {"pad with -1",
       [](const Tensor& x) {
         return ad::pad(x, {1, 1}, ad::PadMode::constant, -1);
       }},
      {"pad by reflect",
       [](const Tensor& x) {
         return ad::pad(x, {1, 1}, ad::PadMode::reflect);
       }},
      {"pad by replicate",
       [](const Tensor& x) {
         return ad::pad(x, {1, 1}, ad::PadMode::replicate);
       }},
      {"pad by circular",
       [](const Tensor& x) {
         return ad::pad(x, {1, 1}, ad::PadMode::circular);
       }},
      {"sort values", [](const Tensor& x) { return ad::sort(x).values; }},
      {"sort indices", [](const Tensor& x) { return ad::sort(x).indices; }},
      {"argsort", [](const Tensor& x) { return ad::argsort(x); }},
      {"topk values", [](const Tensor& x) { return ad::topk(x, 1).values; }},
      {"topk indices", [](const Tensor& x) { return ad::topk(x, 1).indices; }},
  };
  return all;
}

struct Two {
  Binary tensors;
  WithNumber number;
};

const std::map<std::string, Two>& binary_functions() {
#define ADJOINT_TWO(name)                                              \
  {                                                                    \
#name, {                                                           \
      [](const Tensor& a, const Tensor& b) { return ad::name(a, b); }, \
          [](const Tensor& a, Scalar b) { return ad::name(a, b); }     \
    }                                                                  \
  }
  static const std::map<std::string, Two> all{
      ADJOINT_TWO(add),
      ADJOINT_TWO(sub),
      ADJOINT_TWO(mul),
      ADJOINT_TWO(div),
      ADJOINT_TWO(atan2),
      ADJOINT_TWO(pow),
      ADJOINT_TWO(maximum),
      ADJOINT_TWO(minimum),
      ADJOINT_TWO(eq),
      ADJOINT_TWO(ne),
      ADJOINT_TWO(lt),
      ADJOINT_TWO(le),
      ADJOINT_TWO(gt),
      ADJOINT_TWO(ge),
      ADJOINT_TWO(logical_and),
      ADJOINT_TWO(logical_or),
      ADJOINT_TWO(logical_xor),
      {"outer", {[](const Tensor& a, const Tensor& b) { return ad::outer(a, b); }, {}}},
      {"where",
       {[](const Tensor& a, const Tensor& b) { return ad::where(ad::ones({2}, ad::bool_), a, b); },
        [](const Tensor& a, Scalar b) { return ad::where(ad::ones({2}, ad::bool_), a, b); }}},
      {"cat",
       {[](const Tensor& a, const Tensor& b) {
          return ad::cat({a, b});
        },
        {}}},
      {"stack",
       {[](const Tensor& a, const Tensor& b) {
          return ad::stack({a, b});
        },
        {}}},
      {"scatter", {[](const Tensor& a, const Tensor& b) { return ad::scatter(a, 0, ad::arange(2), b); }, {}}},
      {"scatter_add", {[](const Tensor& a, const Tensor& b) { return ad::scatter_add(a, 0, ad::arange(2), b); }, {}}},
      {"index_add", {[](const Tensor& a, const Tensor& b) { return ad::index_add(a, 0, ad::arange(2), b); }, {}}},
      {"index_put", {[](const Tensor& a, const Tensor& b) { return ad::index_put(a, {ad::arange(2)}, b); }, {}}},
      {"index_put, accumulate",
       {[](const Tensor& a, const Tensor& b) { return ad::index_put(a, {ad::arange(2)}, b, true); }, {}}},
      {"slice_scatter", {[](const Tensor& a, const Tensor& b) { return ad::slice_scatter(a, b); }, {}}},
  };
#undef ADJOINT_TWO
  return all;
}

/// Where the answers differ from PyTorch's on purpose, and why.
struct Deviation {
  const char* name;
  std::set<Dtype> of;
  std::int64_t answer;
  const char* reason;
};
const std::vector<Deviation>& deviations() {
  static const std::set<Dtype> integers{ad::int64, ad::int32, ad::uint8},
      integers_and_bool{ad::int64, ad::int32, ad::uint8, ad::bool_};
  static const std::vector<Deviation> list{
      {"softplus", integers_and_bool, 0, "a function of real numbers, like exp"},
      {"logsumexp", integers_and_bool, kRefused, "refused as by softmax"},
      {"hardtanh", {ad::uint8}, kRefused, "-1 is no uint8"},
      {"hardtanh(x, 0.5, 2.5)", integers, 0, "meets a floating-point limit in float32, as in clamp"},
      {"any", {ad::uint8}, 5, "PyTorch keeps uint8 for the sake of old programs"},
      {"all", {ad::uint8}, 5, "PyTorch keeps uint8 for the sake of old programs"},
      {"argmax", {ad::bool_}, 2, "the first that is true is a fair question"},
      {"argmin", {ad::bool_}, 2, "the first that is false is a fair question"},
      {"topk values", {ad::bool_}, 5, "bools can be sorted, in PyTorch too"},
      {"topk indices", {ad::bool_}, 2, "bools can be sorted, in PyTorch too"},
      {"pad by reflect", {ad::bool_}, 5, "padded by circular in PyTorch too"},
      {"pad by replicate", {ad::bool_}, 5, "padded by circular in PyTorch too"},
  };
  return list;
}

std::int64_t code(const std::function<Tensor()>& call) {
  try {
    const Tensor result = call();
    ad::eval(result);  // it must not fail later
    return static_cast<std::int64_t>(result.dtype());
  } catch (const ad::DtypeError&) {
    return kRefused;
  } catch (const ad::ValueError&) {  // a number that the dtype cannot hold
    return kRefused;
  }
}

std::string name_of(std::int64_t answer) {
  return answer == kRefused ? "refused" : ad::name_of(static_cast<Dtype>(answer));
}

Tensor of(Dtype dtype, const ad::Shape& shape = {2}) { return ad::ones(shape, dtype); }

/// PyTorch's answer, or ours: it refuses any difference with a bool operand, we only one of two bools. pow of bools we
/// refuse throughout.
std::int64_t answer(const std::string& name, Dtype a, Dtype b, std::int64_t expected) {
  const bool both = a == ad::bool_ && b == ad::bool_;
  if (name.rfind("sub", 0) == 0 && (a == ad::bool_ || b == ad::bool_) && !both) {
    CHECK(expected == kRefused);
    if (ad::is_floating(a) || ad::is_floating(b)) return static_cast<std::int64_t>(a == ad::bool_ ? b : a);
    return static_cast<std::int64_t>(ad::promote_types(a, b));
  }
  return name.rfind("pow", 0) == 0 && both ? kRefused : expected;
}

/// Compares two answers, and reports them by name.
void expect(const std::string& what, std::int64_t actual, std::int64_t expected) {
  const std::string message = what + ": " + name_of(actual) + " instead of " + name_of(expected);
  CHECK_MESSAGE(actual == expected, message);
}

const ad::StateDict& golden() {
  static const ad::StateDict numbers =
      ad::io::load_safetensors(ADJOINT_SOURCE_DIR "/tests/golden/ops/dtypes.safetensors");
  return numbers;
}

}  // namespace

TEST_CASE("every answer of PyTorch is compared") {
  std::size_t compared = unary_functions().size();
  for (const auto& [name, f] : binary_functions()) {
    compared += golden().find(name) != nullptr;
    for (const char* suffix : {"(a, b)", "(a, b without dims)", "(a without dims, b without dims)", "(a, number)"})
      compared += golden().find(name + suffix) != nullptr;
  }
  CHECK(compared == golden().size());
}

TEST_CASE("the dtypes of one operand's results are PyTorch's") {
  for (const auto& [name, f] : unary_functions()) {
    const Tensor expected = golden().at(name);
    for (Dtype dtype : kDtypes) {
      std::int64_t answer = expected.data<std::int64_t>()[static_cast<int>(dtype)];
      for (const Deviation& deviation : deviations())
        if (deviation.name == name && deviation.of.count(dtype)) {
          CHECK(answer != deviation.answer);  // else it is none any more
          answer = deviation.answer;
        }
      expect(name + " of " + ad::name_of(dtype), code([&, g = f] { return g(of(dtype, {2, 2})); }), answer);
    }
  }
}

TEST_CASE("two operands meet in PyTorch's dtype") {
  const auto compare = [](const std::string& name, const Binary& f, const ad::Shape& a_shape,
                          const ad::Shape& b_shape) {
    const Tensor* expected = golden().find(name);
    if (!expected) return;
    const std::int64_t* answers = expected->data<std::int64_t>();
    for (Dtype a : kDtypes)
      for (Dtype b : kDtypes)
        expect(name + " of " + ad::name_of(a) + " and " + ad::name_of(b),
               code([&] { return f(of(a, a_shape), of(b, b_shape)); }), answer(name, a, b, *answers++));
  };
  for (const auto& [name, f] : binary_functions()) {
    compare(name, f.tensors, {2}, {2});
    compare(name + "(a, b)", f.tensors, {2}, {2});
    compare(name + "(a, b without dims)", f.tensors, {2}, {});
    compare(name + "(a without dims, b without dims)", f.tensors, {}, {});
  }
}

TEST_CASE("a number promotes only to its kind") {
  for (const auto& [name, f] : binary_functions()) {
    const Tensor* expected = golden().find(name + "(a, number)");
    if (!expected) continue;
    const std::int64_t* answers = expected->data<std::int64_t>();
    for (Dtype a : kDtypes)
      for (Scalar number : {Scalar(1), Scalar(1.5), Scalar(true)})
        expect(name + " of " + ad::name_of(a) + " and a number of kind " + ad::name_of(number.default_dtype()),
               code([&, g = f.number] { return g(of(a), number); }),
               answer(name, a, number.default_dtype() == ad::int64 && ad::is_integral(a) ? a : number.default_dtype(),
                      *answers++));
  }
}

TEST_CASE("integers wrap around, and numbers that a dtype cannot hold are compared as they are") {
  const Tensor bytes = ad::tensor({0, 1, 200, 255}, ad::uint8);
  using Bytes = std::vector<std::uint8_t>;
  CHECK((bytes + bytes).to_vector<std::uint8_t>() == Bytes{0, 2, 144, 254});
  CHECK((bytes - 1).to_vector<std::uint8_t>() == Bytes{255, 0, 199, 254});
  CHECK((bytes * 2).to_vector<std::uint8_t>() == Bytes{0, 2, 144, 254});
  CHECK((-bytes).to_vector<std::uint8_t>() == Bytes{0, 255, 56, 1});
  CHECK(ad::sum(bytes).item<std::int64_t>() == 456);
  CHECK(ad::cumsum(bytes, 0).to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 1, 201, 456});
  CHECK(ad::prod(bytes[ad::Slice(1)]).item<std::int64_t>() == 51000);
  CHECK(ad::clamp(bytes, -1, 300).to_vector<std::uint8_t>() == Bytes{0, 1, 200, 255});
  CHECK_THROWS_AS(ad::maximum(bytes, -1), ad::ValueError);
  CHECK_THROWS_AS(ad::pow(bytes, 300), ad::ValueError);
  CHECK(ad::clamp(bytes, 1, 100).to_vector<std::uint8_t>() == Bytes{1, 1, 100, 100});
  CHECK(ad::all(bytes > -1).item<bool>());
  CHECK(ad::all(bytes < 256).item<bool>());
  CHECK(ad::all(-1 < bytes).item<bool>());
  CHECK_FALSE(ad::any(bytes == 256).item<bool>());
  const Tensor words = ad::tensor({-2147483647 - 1, 2147483647}, ad::int32);
  CHECK(ad::all(words < (std::int64_t{1} << 40)).item<bool>());
  CHECK((words - 1).to_vector<std::int32_t>() == std::vector<std::int32_t>{2147483647, 2147483646});
  const Tensor large = ad::tensor({(std::int64_t{1} << 53) + 1, -(std::int64_t{1} << 62)});
  CHECK((large + 0).to_vector<std::int64_t>() == large.to_vector<std::int64_t>());
  CHECK(ad::sum(large).item<std::int64_t>() == (std::int64_t{1} << 53) + 1 - (std::int64_t{1} << 62));
  const std::int64_t least = std::numeric_limits<std::int64_t>::min();
  CHECK(ad::cumsum(ad::tensor({least, least}), 0).to_vector<std::int64_t>() == std::vector<std::int64_t>{least, 0});
  CHECK(ad::prod(ad::tensor({least, std::int64_t{3}})).item<std::int64_t>() == least);
  CHECK(ad::pow(ad::tensor({2, -3, 0, 10}), ad::tensor({62, 3, 0, 18})).to_vector<std::int64_t>() ==
        std::vector<std::int64_t>{std::int64_t{1} << 62, -27, 1, 1000000000000000000});
}

TEST_CASE("operators and methods are the functions") {
  const Tensor a = ad::tensor({1.5, -2.0, 0.0}), b = ad::tensor({0.5, 2.0, 0.0});
  const auto same = [](const Tensor& x, const Tensor& y) {
    return x.dtype() == y.dtype() && ad::allclose(x, y, 0, 0, true);
  };
  CHECK(same(-a, ad::neg(a)));
  CHECK(same(a + b, ad::add(a, b)));
  CHECK(same(a - 2, ad::sub(a, 2)));
  CHECK(same(2 * a, ad::mul(2, a)));
  CHECK(same(1.0 / b, ad::div(1.0, b)));
  CHECK(same(a == b, ad::eq(a, b)));
  CHECK(same(a != 0, ad::ne(a, 0)));
  CHECK(same(0 < a, ad::lt(0, a)));
  CHECK(same(a <= b, ad::le(a, b)));
  CHECK(same(a > b, ad::gt(a, b)));
  CHECK(same(a >= b, ad::ge(a, b)));
  CHECK(same(a && b, ad::logical_and(a, b)));
  CHECK(same(a || b, ad::logical_or(a, b)));
  CHECK(same(!a, ad::logical_not(a)));

  const Tensor m = ad::reshape(ad::arange(0.0, 6.0), {2, 3});
  CHECK(same(m.to(ad::int32), ad::cast(m, ad::int32)));
  CHECK(same(m.reshape({3, -1}), ad::reshape(m, {3, 2})));
  CHECK(same(m.view({6}), ad::view(m, {6})));
  CHECK(same(m.flatten(), ad::flatten(m)));
  CHECK(same(m.permute({1, 0}), ad::permute(m, {1, 0})));
  CHECK(same(m.transpose(0, 1), ad::transpose(m, 0, 1)));
  CHECK(same(m.t(), ad::t(m)));
  CHECK(same(m.unsqueeze(1).squeeze(1), m));
  CHECK(same(m.unsqueeze(-1).squeeze(), m));
  CHECK(same(m.unsqueeze(0).expand({4, -1, -1}), ad::expand(m, {4, 2, 3})));
  CHECK(same(m.matmul(m.t()), ad::matmul(m, ad::t(m))));
  CHECK(same(m.sum(), ad::sum(m)));
  CHECK(same(m.sum(1, true), ad::sum(m, 1, true)));
  CHECK(same(m.mean(), ad::mean(m)));
  CHECK(same(m.mean({0, 1}), ad::mean(m, {0, 1})));
  CHECK(same(m.argmax(1), ad::argmax(m, 1)));
}
