// Index tensors and masks, what is put at an index, padding and sorting. The expectations come from PyTorch
// (tests/golden/ops/make_ops.py), or from plain loops.
#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

namespace ad = adjoint;
using ad::Shape;
using ad::Slice;
using ad::Tensor;
using Integers = std::vector<std::int64_t>;
using Tensors = std::vector<Tensor>;
using Function = std::function<Tensor(const Tensors&)>;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();

Integers integers(const Tensor& x) { return x.to(ad::int64).to_vector<std::int64_t>(); }
std::vector<double> doubles(const Tensor& x) { return x.to(ad::float64).to_vector<double>(); }

/// 1, 2, ... of a shape.
Tensor counted(const Shape& shape) { return ad::arange(1, ad::numel(shape) + 1, 1, ad::float64).reshape(shape); }

/// One index: what it selects, and what is put there.
struct Indexing {
  std::function<Tensor(const Tensor&)> select;
  std::function<Tensor(const Tensor&, const Tensor&, bool)> put;
};

/// By the names that make_ops.py gives.
std::map<std::string, Indexing> indices() {
  const Tensor i = ad::tensor({0, 2}), j = ad::tensor({1, -1}), c = ad::tensor({{0}, {2}, {-3}}), one = ad::tensor(-1),
               i32 = ad::tensor({2, 0, 2}, ad::int32), none = ad::zeros({0}, ad::int64),
               square = ad::tensor({{0, 1}, {1, 2}}), m3 = ad::tensor({true, false, true}),
               m4 = ad::tensor({false, true, true, false}), m5 = ad::tensor({true, true, false, false, false}),
               m34 = ad::tensor({{1, 0, 0, 1}, {0, 0, 0, 0}, {0, 1, 1, 0}}, ad::bool_), no = ad::tensor(false),
               yes = ad::tensor(true), no3 = ad::zeros({3}, ad::bool_);
  const auto multiples = [](const Shape& shape, std::int64_t of) {
    std::vector<bool> holds;
    for (std::int64_t k = 0; k < ad::numel(shape); ++k) holds.push_back(k % of == 0);
    return ad::tensor(holds).reshape(shape);
  };
  const Tensor m45 = multiples({4, 5}, 3), m345 = multiples({3, 4, 5}, 7);
  const Slice all;
  constexpr auto None = ad::None;
  constexpr auto Ellipsis = ad::Ellipsis;
#define ADJOINT_INDEX(text, ...)                                                                              \
  {                                                                                                           \
    text, {                                                                                                   \
      [=](const Tensor& x) { return x.index({__VA_ARGS__}); },                                                \
          [=](const Tensor& x, const Tensor& v, bool add) { return ad::index_put(x, {__VA_ARGS__}, v, add); } \
    }                                                                                                         \
  }
  return {
      ADJOINT_INDEX("i", i),
      ADJOINT_INDEX("i32", i32),
      ADJOINT_INDEX("none", none),
      ADJOINT_INDEX("square", square),
      ADJOINT_INDEX("one", one),
      ADJOINT_INDEX("c", c),
      ADJOINT_INDEX("i, j", i, j),
      ADJOINT_INDEX("i, :, j", i, all, j),
      ADJOINT_INDEX(":, i, j", all, i, j),
      ADJOINT_INDEX("..., i", Ellipsis, i),
      ADJOINT_INDEX("..., i, j", Ellipsis, i, j),
      ADJOINT_INDEX("i, ..., j", i, Ellipsis, j),
      ADJOINT_INDEX("i, 1", i, 1),
      ADJOINT_INDEX("1, i", 1, i),
      ADJOINT_INDEX("1, :, i", 1, all, i),
      ADJOINT_INDEX("i, 1, j", i, 1, j),
      ADJOINT_INDEX("i, one, j", i, one, j),
      ADJOINT_INDEX(":, one, i", all, one, i),
      ADJOINT_INDEX("one, :, i", one, all, i),
      ADJOINT_INDEX("one, one, one", one, one, one),
      ADJOINT_INDEX("c, j", c, j),
      ADJOINT_INDEX("c, j, 0", c, j, 0),
      ADJOINT_INDEX("c, :, j", c, all, j),
      ADJOINT_INDEX(":, c, j", all, c, j),
      ADJOINT_INDEX("square, :, i", square, all, i),
      ADJOINT_INDEX("square, square, square", square, square, square),
      ADJOINT_INDEX("None, i", None, i),
      ADJOINT_INDEX("i, None, j", i, None, j),
      ADJOINT_INDEX("None, :, i, None, j", None, all, i, None, j),
      ADJOINT_INDEX(":, :, i, None", all, all, i, None),
      ADJOINT_INDEX("1:, i", Slice(1), i),
      ADJOINT_INDEX("::2, i, 1:4", Slice({}, {}, 2), i, Slice(1, 4)),
      ADJOINT_INDEX("i, 1:3, j", i, Slice(1, 3), j),
      ADJOINT_INDEX("i, 1:3", i, Slice(1, 3)),
      ADJOINT_INDEX("m3", m3),
      ADJOINT_INDEX("m34", m34),
      ADJOINT_INDEX("m345", m345),
      ADJOINT_INDEX(":, m4", all, m4),
      ADJOINT_INDEX("..., m5", Ellipsis, m5),
      ADJOINT_INDEX(":, m45", all, m45),
      ADJOINT_INDEX("m3, 1", m3, 1),
      ADJOINT_INDEX("1, m4", 1, m4),
      ADJOINT_INDEX("m3, :, m5", m3, all, m5),
      ADJOINT_INDEX("m3, i", m3, i),
      ADJOINT_INDEX("m3, i, 1:4", m3, i, Slice(1, 4)),
      ADJOINT_INDEX("m34, 2", m34, 2),
      ADJOINT_INDEX("m34, c", m34, c),
      ADJOINT_INDEX("i, m4", i, m4),
      ADJOINT_INDEX("i, :, m5", i, all, m5),
      ADJOINT_INDEX("c, m45", c, m45),
      ADJOINT_INDEX(":, m4, j", all, m4, j),
      ADJOINT_INDEX("m3, None, i", m3, None, i),
      ADJOINT_INDEX("no3", no3),
      ADJOINT_INDEX("yes", yes),
      ADJOINT_INDEX("no", no),
      ADJOINT_INDEX("yes, i", yes, i),
      ADJOINT_INDEX(":, yes, i", all, yes, i),
      ADJOINT_INDEX("i, yes", i, yes),
      ADJOINT_INDEX("i, :, yes", i, all, yes),
      ADJOINT_INDEX("no, none", no, none),
      ADJOINT_INDEX("m34, yes", m34, yes),
      ADJOINT_INDEX("..., no", Ellipsis, no),
      ADJOINT_INDEX("i, i, i", i, i, i),
      ADJOINT_INDEX("none, 1", none, 1),
      ADJOINT_INDEX("none, :, none", none, all, none),
      ADJOINT_INDEX("1", 1),
      ADJOINT_INDEX("1:, ::2", Slice(1), Slice({}, {}, 2)),
      ADJOINT_INDEX("None, one", None, one),
      ADJOINT_INDEX(":, m4, 1:3", all, m4, Slice(1, 3)),
      ADJOINT_INDEX("1, i, 2", 1, i, 2),
      ADJOINT_INDEX("square, square", square, square),
      ADJOINT_INDEX("c, c, c", c, c, c),
      ADJOINT_INDEX("i32, i32, i32", i32, i32, i32),
  };
#undef ADJOINT_INDEX
}

Tensor special_rows() {
  return ad::tensor({{1.0, 3.0, 3.0, 2.0},
                     {3.0, 3.0, 3.0, 3.0},
                     {-kInf, 0.0, 1.0, -1.0},
                     {kInf, 0.0, kInf, 1.0},
                     {kNan, 1.0, 5.0, kNan},
                     {-kInf, -kInf, -kInf, -kInf},
                     {1000.0, 999.0, -1000.0, 1000.0},
                     {-1000.0, -1000.5, -1001.0, -2000.0},
                     {0.0, -0.0, 0.0, -0.0}},
                    ad::float64);
}

struct Expectation {
  Function function;
  Tensors inputs;
};

/// All that make_ops.py has answers for, by its names.
std::map<std::string, Expectation> expectations(const ad::StateDict& golden) {
  std::map<std::string, Expectation> result;
  const Tensor x = counted({3, 4, 5});
  for (const auto& [name, indexing] : indices()) {
    const std::string text = "x[" + name + "]";
    if (golden.find(text + "/value")) result[text] = {[f = indexing.select](const Tensors& t) { return f(t[0]); }, {x}};
    for (bool add : {false, true}) {
      const std::string put = text + (add ? " += values" : " = values");
      if (const Tensor* gradient = golden.find(put + "/gradient1"))
        result[put] = {[f = indexing.put, add](const Tensors& t) { return f(t[0], t[1], add); },
                       {x, -counted(gradient->shape())}};
    }
  }
  const auto padded = [&](const char* padding, const char* mode, const std::vector<std::int64_t>& entries,
                          ad::PadMode by, ad::Scalar value = 0) {
    result["pad(x, " + std::string(padding) + ", " + mode + ")"] = {
        [=](const Tensors& t) { return ad::pad(t[0], entries, by, value); }, {x}};
  };
  using M = ad::PadMode;
  padded("(2, 1)", "constant", {2, 1}, M::constant);
  padded("(1, 2, 3, 0)", "constant", {1, 2, 3, 0}, M::constant);
  padded("(1, 0, 0, 1, 2, 2)", "constant", {1, 0, 0, 1, 2, 2}, M::constant);
  padded("(2, 1)", "reflect", {2, 1}, M::reflect);
  padded("(3, 2, 0, 2)", "reflect", {3, 2, 0, 2}, M::reflect);
  padded("(2, 1)", "replicate", {2, 1}, M::replicate);
  padded("(6, 2, 0, 7)", "replicate", {6, 2, 0, 7}, M::replicate);
  padded("(2, 1)", "circular", {2, 1}, M::circular);
  padded("(4, 2, 0, 3)", "circular", {4, 2, 0, 3}, M::circular);
  padded("(1, 2)", "-0", {1, 2}, M::constant, -0.0);
  padded("(1, 2)", "nan", {1, 2}, M::constant, kNan);
  const Tensor rows = special_rows(), row = ad::tensor({1.0, kNan, 5.0, kInf, -kInf, 2.0, -0.5}, ad::float64);
  for (bool descending : {false, true}) {
    const std::string suffix = descending ? ", descending)" : ")";
    for (std::int64_t dim : {-1, 0}) {
      const std::string arguments = (dim == 0 ? "(rows, 0" : "(rows") + suffix;
      result["sort" + arguments] = {[=](const Tensors& t) { return ad::sort(t[0], dim, descending).values; }, {rows}};
      result["argsort" + arguments] = {[=](const Tensors& t) { return ad::argsort(t[0], dim, descending); }, {rows}};
    }
  }
  for (std::int64_t k : {0, 1, 3, 7})
    for (bool largest : {true, false}) {
      const std::string name = "topk(row, " + std::to_string(k) + (largest ? ")" : ", smallest)");
      result[name] = {[=](const Tensors& t) { return ad::topk(t[0], k, -1, largest).values; }, {row}};
      result[name + " indices"] = {[=](const Tensors& t) { return ad::topk(t[0], k, -1, largest).indices; }, {row}};
    }
  result["nonzero(row)"] = {[](const Tensors& t) { return ad::nonzero(t[0]); },
                            {ad::tensor({{0.0, kNan, -0.0}, {kInf, 0.0, 1.0}}, ad::float64)}};
  return result;
}

/// Both of one shape, and each element the same, the sign of zeros included.
bool same(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = doubles(a), y = doubles(b);
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::equal(x.begin(), x.end(), y.begin(), [](double p, double q) {
           return std::isnan(p) ? std::isnan(q) : p == q && std::signbit(p) == std::signbit(q);
         });
}

}  // namespace

TEST_CASE("what indices, padding and sorting give is what PyTorch gives, and so are their gradients") {
  const ad::StateDict golden = ad::io::load_safetensors(ADJOINT_SOURCE_DIR "/tests/golden/ops/indexing.safetensors");
  std::size_t compared = 0;
  for (const auto& [name, expectation] : expectations(golden)) {
    CAPTURE(name);
    Tensors inputs;
    for (const Tensor& input : expectation.inputs) inputs.push_back(input.detach().requires_grad_());
    const Tensor value = expectation.function(inputs);
    CHECK_MESSAGE(same(value, golden.at(name + "/value")), value);
    ++compared;
    CHECK(value.requires_grad() == (golden.find(name + "/gradient0") != nullptr));
    if (!value.requires_grad()) continue;
    value.backward(counted(value.shape()));
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      const Tensor expected = golden.at(name + "/gradient" + std::to_string(k));
      CHECK_MESSAGE(same(inputs[k].grad(), expected), inputs[k].grad());
      ++compared;
    }
  }
  CHECK(compared == golden.size());
}

TEST_CASE("every kind of index is differentiable twice, in both modes") {
  ad::manual_seed(7);
  const Tensor x = ad::randn({3, 4, 5}, ad::float64);
  for (const auto& [name, indexing] : indices()) {
    CAPTURE(name);
    const auto selected = [f = indexing.select](const Tensor& t) { return ad::square(f(t)); };
    CHECK(ad::gradcheck(selected, {x}));
    CHECK(ad::gradgradcheck(selected, {x}));
    const Tensor values = ad::randn(indexing.select(x).shape(), ad::float64);
    for (bool accumulate : {false, true}) {
      const auto put = [f = indexing.put, accumulate](const Tensor& t, const Tensor& v) {
        return ad::square(f(t, v, accumulate));
      };
      CHECK(ad::gradcheck(put, {x, values}));
      CHECK(ad::gradgradcheck(put, {x, values}));
    }
  }
}

TEST_CASE("gradients of gathered elements are added to the other gradients of what they are gathered from") {
  ad::manual_seed(5);
  // As where the weight of an embedding is that of the last layer as well; some rows are there twice.
  const Tensor weight = ad::randn({40, 16}, ad::float64), x = ad::randn({8, 40}, ad::float64),
               index = ad::tensor({3, 7, 3, 0, 39}), other = ad::tensor({7, 7, 2});
  const auto loss = [&](const Tensor& w) {
    return ad::sum(ad::square(ad::matmul(x, w))) + ad::sum(ad::exp(ad::index_select(w, 0, index))) +
           ad::sum(ad::sin(ad::index_select(w, 0, other))) + ad::sum(ad::square(ad::narrow(w, 0, 2, 9)));
  };
  CHECK(ad::gradcheck(loss, {weight}));
  CHECK(ad::gradgradcheck(loss, {weight}));
  std::vector<double> expected;
  for (const bool look : {false, true}) {
    const Tensor w = weight.detach().requires_grad_();
    const Tensor value = loss(w);
    if (look) value.item<double>();
    value.backward();
    if (look) {
      CHECK(w.grad().to_vector<double>() == expected);
      continue;
    }
    std::ostringstream plan;
    plan << ad::explain(w.grad());
    int scatters = 0;
    std::istringstream lines(plan.str());
    for (std::string line; std::getline(lines, line);) {
      scatters += line.find(" = scatter_add(") != std::string::npos;
      CHECK((line.find("broadcast_to(0)") == std::string::npos || line.find("(40, 16)") == std::string::npos));
    }
    CHECK(scatters == 2);
    expected = w.grad().to_vector<double>();
  }
  // Each takes the memory of what it is added to.
  const Tensor large = ad::randn({4000, 64}).requires_grad_(), some = ad::randint(0, 4000, {16}),
               y = ad::randn({8, 4000});
  ad::eval(large, some, y);
  ad::sum(ad::matmul(y, large) + ad::sum(ad::exp(ad::index_select(large, 0, some)))).backward();
  ad::memory::reset_peak();
  const auto before = ad::memory::stats().live;
  ad::eval(large.grad());
  CHECK(ad::memory::stats().peak - before < 4 * 4000 * 64 * 5 / 4);
}

TEST_CASE("scatter_add writes over what it adds to only where nobody else reads that") {
  ad::manual_seed(6);
  const Tensor base = ad::randn({6, 5}), index = ad::reshape(ad::tensor({1, 4, 1, 0, 2, 3}), {6, 1}),
               source = ad::randn({6, 1}), images = ad::randn({2, 4, 4, 3});
  const Tensor image_index = ad::randint(0, 3, {2, 3, 4, 4}), image_source = ad::randn({2, 3, 4, 4});
  ad::eval(base, index, source, images, image_index, image_source);
  const auto results = [&](bool one_at_a_time) {
    const auto computed = [&](const Tensor& x) {
      if (one_at_a_time) ad::eval(x);
      return x;
    };
    const Tensor held = computed(base * 2), viewed = computed(base * 3),
                 broadcast = computed(ad::broadcast_to(computed(ad::narrow(base, 0, 0, 1) + 1), {6, 5}));
    const Tensor channels_last = ad::permute(computed(images * 2), {0, 3, 1, 2});
    const std::vector<Tensor> all = {ad::scatter_add(held, 1, index, source),
                                     held,
                                     ad::scatter_add(viewed, 1, index, ad::narrow(viewed, 1, 0, 1)),
                                     ad::scatter_add(broadcast, 1, index, source),
                                     ad::scatter_add(computed(base * 5), 1, index, source),
                                     ad::scatter_add(channels_last, 1, image_index, image_source),
                                     ad::scatter_add(computed(ad::exp(channels_last)), 1, image_index, image_source)};
    ad::eval(all);
    std::vector<std::vector<float>> values;
    for (const Tensor& x : all) values.push_back(x.to_vector<float>());
    return values;
  };
  for (const bool one_at_a_time : {false, true}) {
    std::vector<std::vector<float>> expected;
    {
      const ad::engine::OptionsGuard no_donation({true, true, false});
      expected = results(one_at_a_time);
    }
    CHECK(results(one_at_a_time) == expected);
    const ad::engine::OptionsGuard no_fusion({false, true, true});
    CHECK(results(one_at_a_time) == expected);
  }

  // A position that is outside leaves what it was to be added to.
  const Tensor held = base * 2, outside = ad::scatter_add(held, 1, index + 1, source);
  CHECK_THROWS_AS(ad::eval(outside), ad::ValueError);
  CHECK(held.to_vector<float>() == (base * 2).to_vector<float>());
  // So do gradients of gathered elements: the caller's gradient, and another result.
  const Tensor x = base.detach().requires_grad_(), y = x * 2,
               z = ad::scatter_add(y, 1, index, source) + ad::sum(ad::gather(y, 1, index) * 3),
               gradient = ad::randn({6, 5});
  const std::vector<float> before = gradient.to_vector<float>();
  const std::vector<Tensor> gradients = ad::autograd::grad({z}, {y, x}, {{gradient}});
  const std::vector<float> of_x = gradients[1].to_vector<float>(), of_y = gradients[0].to_vector<float>();
  CHECK(gradient.to_vector<float>() == before);
  const float sum = ad::sum(gradient).item<float>();
  const std::vector<std::int64_t> places = index.to_vector<std::int64_t>();
  for (std::size_t i = 0; i < of_y.size(); ++i) {
    const float own = before[i] + (static_cast<std::int64_t>(i % 5) == places[i / 5] ? 3 * sum : 0.0f);
    CHECK(of_y[i] == doctest::Approx(own).epsilon(1e-4));
    CHECK(of_x[i] == doctest::Approx(2 * own).epsilon(1e-4));
  }
}

TEST_CASE("of several values for one position the last one counts, and alone has a gradient; or all are added up") {
  const Tensor x = ad::tensor({10.0, 20.0, 30.0}).requires_grad_(), v = counted({5}).to(ad::float32).requires_grad_();
  const Tensor index = ad::tensor({2, 0, -1, 0, 0}), weights = ad::tensor({1.0, 2.0, 3.0});
  const Tensor put = ad::index_put(x, {index}, v);
  CHECK(integers(put) == Integers{5, 20, 3});
  put.backward(weights);
  CHECK(integers(x.grad()) == Integers{0, 2, 0});
  CHECK(integers(v.grad()) == Integers{0, 0, 3, 0, 1});

  Tensor y = x.detach().requires_grad_(), w = v.detach().requires_grad_();
  const Tensor sum = ad::index_put(y, {index}, w, true);
  CHECK(integers(sum) == Integers{21, 20, 34});
  sum.backward(weights);
  CHECK(integers(y.grad()) == Integers{1, 2, 3});
  CHECK(integers(w.grad()) == Integers{3, 1, 3, 1, 1});

  CHECK(integers(ad::scatter(x, 0, ad::tensor({1, 1, 0, 1}), ad::tensor({1.0, 2.0, 3.0, 4.0}))) == Integers{3, 4, 30});
  // What is replaced leaves no trace, not even a NaN; and one that is put stays where it is put.
  const Tensor nan = ad::full({2}, kNan);
  CHECK(integers(ad::index_put(nan, {ad::tensor({0, 1, 0})}, ad::tensor({kNan, 7.0, 8.0}))) == Integers{8, 7});
}

TEST_CASE("a mask is computed when recorded, an index tensor is not") {
  const Tensor x = ad::tensor({3.0, -1.0, 0.0, 2.0}).requires_grad_();
  const Tensor positive = x[x > 0];
  CHECK(positive.shape() == Shape{2});
  CHECK(doubles(positive) == std::vector<double>{3, 2});
  ad::sum(positive * positive).backward();
  CHECK(doubles(x.grad()) == std::vector<double>{6, 0, 0, 4});
  CHECK(integers(ad::nonzero(x > 0)) == Integers{0, 3});
  CHECK(ad::nonzero(x).is_computed());

  const Tensor index = ad::arange(4) + 1;
  const Tensor selected = x[index];  // one is out of range, but nobody knows yet
  CHECK(selected.shape() == Shape{4});
  CHECK_FALSE(selected.is_computed());
  CHECK_THROWS_AS(ad::eval(selected), ad::ValueError);
  CHECK_THROWS_AS(selected.to_vector<float>(), ad::ValueError);
  const ad::EagerGuard eager;
  CHECK_THROWS_AS(x[index], ad::ValueError);
}

TEST_CASE("indices that do not fit say what would") {
  const Tensor x = counted({3, 4, 5});
  const auto message = [](const auto& action) -> std::string {
    try {
      ad::eval(action());
    } catch (const ad::Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  CHECK(message([&] {
          return x.index({0, ad::tensor({1, 4})});
        }) ==
        "index: index 4 at position 1 of the index of shape (2,) is out of range: dim 1 has size 4, so it must lie in "
        "[-4, 4)");
  CHECK(message([&] {
          return x.index({ad::None, ad::Ellipsis, ad::tensor({{-6}})});
        }) ==
        "index: index -6 at position 0 of the index of shape (1, 1) is out of range: dim 2 has size 5, so it must lie "
        "in [-5, 5)");
  CHECK(message([&] {
          return x.index({0, ad::ones({3, 5}, ad::bool_)});
        }) ==
        "index: the mask of shape (3, 5) does not fit dims (4, 5) from dim 1 on of the input of shape (3, 4, 5); the "
        "sizes must be equal");
  CHECK(message([&] { return x[ad::ones({3}, ad::uint8)]; }) ==
        "index: the index of shape (3,) has dtype uint8; it must be int64 or int32, or bool for a mask");
  CHECK(message([&] {
          return x.index({ad::tensor({0, 1}), ad::tensor({0, 1, 2})});
        }).find("(2,)") != std::string::npos);
  CHECK(message([&] {
          return x.index({0, ad::ones({4, 5, 1}, ad::bool_)});
        }) == "index: entries for 4 dims, and the input of shape (3, 4, 5) has 3");
  CHECK(message([&] { return x[Tensor()]; }).find("index: an undefined Tensor") == 0);
  CHECK(message([&] { return ad::zeros({0, 2})[ad::tensor({0})]; }).find("dim 0 has size 0") != std::string::npos);
  CHECK(message([&] { return ad::zeros({2, 0}).index({ad::tensor({5})}); }).find("index 5") != std::string::npos);
  CHECK(ad::zeros({0, 2})[ad::zeros({0, 3}, ad::int64)].shape() == Shape{0, 3, 2});
}

// -- order ------------------------------------------------------------------------------------------------------------

namespace {

/// The positions of a stable sort by the definition, in which NaN is the largest.
template <class T>
Integers stable_order(const std::vector<T>& values, bool descending) {
  const auto less = [](T a, T b) { return a < b || (b != b && a == a); };
  Integers order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t i, std::int64_t k) {
    const T a = values[static_cast<std::size_t>(i)], b = values[static_cast<std::size_t>(k)];
    return descending ? less(b, a) : less(a, b);
  });
  return order;
}

/// Rows of choices, which come up again and again.
template <class T>
void check_order(const std::vector<T>& choices) {
  std::uint32_t state = 1;
  for (std::size_t n : {std::size_t{1}, std::size_t{2}, std::size_t{65}, std::size_t{1000}}) {
    std::vector<T> values;
    for (std::size_t i = 0; i < n; ++i) {
      state = state * 1664525u + 1013904223u;
      values.push_back(choices[(state >> 16) % choices.size()]);
    }
    const Tensor x = ad::tensor(values);
    CAPTURE(ad::name_of(x.dtype()));
    CAPTURE(n);
    for (bool descending : {false, true}) {
      const Integers expected = stable_order(values, descending);
      CHECK(integers(ad::argsort(x, 0, descending)) == expected);
      for (std::int64_t k : {std::int64_t{0}, std::int64_t{1}, std::int64_t{2}, std::int64_t{15}, std::int64_t{16},
                             std::int64_t{500}, std::int64_t{1000}}) {
        if (k > static_cast<std::int64_t>(n)) continue;
        const ad::ValuesIndices top = ad::topk(x, k, 0, descending);
        const Integers first(expected.begin(), expected.begin() + k);
        CHECK(integers(top.indices) == first);
        CHECK(same(top.values, x[ad::tensor(first)]));
      }
    }
  }
}

}  // namespace

TEST_CASE("elements of every dtype are sorted stably; topk gives the beginning of that order") {
  check_order<float>({0.0f, -0.0f, 1.5f, -1.5f, std::numeric_limits<float>::infinity(),
                      -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(),
                      -std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::denorm_min(),
                      std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest()});
  check_order<double>({0.0, -0.0, 1.5, -1.5, kInf, -kInf, kNan, -kNan, std::numeric_limits<double>::denorm_min(),
                       std::numeric_limits<double>::max(), std::numeric_limits<double>::lowest()});
  check_order<std::int64_t>({0, 1, -1, std::int64_t{1} << 32, -(std::int64_t{1} << 32),
                             std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()});
  check_order<std::int32_t>(
      {0, 1, -1, 256, std::numeric_limits<std::int32_t>::max(), std::numeric_limits<std::int32_t>::min()});
  check_order<std::uint8_t>({0, 1, 127, 128, 255});
  check_order<bool>({true, false});
}

TEST_CASE("many rows are sorted each by itself, with any number of threads") {
  ad::manual_seed(3);
  const Tensor x = ad::randn({3000, 20});
  const auto rows = doubles(x);
  const int before = ad::get_num_threads();
  for (int threads : {1, 3}) {
    ad::set_num_threads(threads);
    const Integers order = integers(ad::argsort(x)), columns = integers(ad::argsort(x.t().reshape({20, 3000}), 0).t());
    for (std::size_t i = 0; i < 3000; ++i) {
      const auto at = static_cast<std::ptrdiff_t>(i * 20);
      const Integers expected = stable_order(std::vector<double>(rows.begin() + at, rows.begin() + at + 20), false);
      REQUIRE(Integers(order.begin() + at, order.begin() + at + 20) == expected);
      REQUIRE(Integers(columns.begin() + at, columns.begin() + at + 20) == expected);
    }
  }
  ad::set_num_threads(before);
}
