// One graph, two readers: what is recorded, what is computed when, cells and assignments, release, failures, depth.
#include "core/thread_state.hpp"
#include "probe.hpp"

#include <adjoint/adjoint.hpp>

#include <array>
#include <cmath>
#include <cstring>
#include <ctime>
#include <functional>
#include <optional>
#include <random>
#include <sstream>
#include <tuple>

namespace ad = adjoint;
using ad::Tensor;
using ad::probe::counted;
using ad::probe::executions;
using ad::probe::failing;
using Floats = std::vector<float>;

namespace {

Floats floats(const Tensor& x) { return x.to_vector<float>(); }

/// A leaf that requires grad.
Tensor parameter(std::initializer_list<float> values) { return ad::tensor(Floats(values)).requires_grad_(); }

template <class Exception, class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const Exception& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

bool contains(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts)
    if (text.find(part) == std::string::npos) {
      MESSAGE("'" << text << "' lacks '" << part << "'");
      return false;
    }
  return true;
}

/// The processor's time that this thread spends on f; a busy machine does not add to it.
double seconds_of(const std::function<void()>& f) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double start = now();
  f();
  return now() - start;
}

}  // namespace

// -- recording --------------------------------------------------------------------------------------------------------

TEST_CASE("recording computes nothing: 10^4 products of 10^4 x 10^4 matrices") {
  const std::int64_t n = 10000;
  const Tensor a = ad::ones({n, n}), b = ad::ones({n, n}).requires_grad_();
  const std::int64_t before = ad::memory::stats().live;
  {
    std::vector<Tensor> products;
    Tensor chain = b;
    for (int i = 0; i < 5000; ++i) {
      products.push_back(ad::matmul(a, b));
      chain = ad::matmul(chain, a);
    }
    CHECK(chain.shape() == ad::Shape{n, n});
    CHECK(chain.requires_grad());
    CHECK_FALSE(chain.is_computed());
    CHECK_FALSE(products.back().is_computed());
    CHECK(ad::memory::stats().live == before);
  }
  CHECK(ad::memory::stats().live == before);
}

TEST_CASE("differentiating computes nothing either") {
  const Tensor w = parameter({1, 2});
  const int before = executions;
  const Tensor y = ad::sum(counted(w * w));
  y.backward();
  CHECK_FALSE(w.grad().is_computed());
  CHECK_FALSE(y.is_computed());
  CHECK(executions == before);
  CHECK(floats(w.grad()) == Floats{2, 4});
}

TEST_CASE("shapes and dtypes are checked on the line that records, and errors name what was given") {
  const Tensor m = ad::zeros({2, 3}), v = ad::zeros({4}), i = ad::zeros({2, 3}, ad::int64);
  const auto shape = [](const auto& f) { return message_of<ad::ShapeError>(f); };
  const auto dtype = [](const auto& f) { return message_of<ad::DtypeError>(f); };
  const auto value = [](const auto& f) { return message_of<ad::ValueError>(f); };
  CHECK(contains(shape([&] { m + v; }), {"add", "(2, 3)", "(4,)"}));
  CHECK(contains(shape([&] { ad::where(m > 0, m, v); }), {"where", "(2, 3)", "(4,)"}));
  CHECK(contains(shape([&] { ad::matmul(m, m); }), {"matmul", "(2, 3)", "3", "2"}));
  CHECK(contains(shape([&] { ad::matmul(m, ad::tensor(1.0)); }), {"matmul", "(2, 3)", "()"}));
  CHECK(contains(shape([&] { ad::linear(m, ad::zeros({5, 4})); }), {"linear", "(2, 3)", "(5, 4)"}));
  CHECK(contains(shape([&] { m.reshape({4, 2}); }), {"reshape", "(2, 3)", "(4, 2)"}));
  CHECK(contains(shape([&] { m.reshape({-1, -1}); }), {"reshape", "-1"}));
  CHECK(contains(shape([&] { ad::sum(m, 2); }), {"sum", "2", "(2, 3)"}));
  CHECK(contains(shape([&] { ad::sum(m, {0, -2}); }), {"sum", "twice"}));
  CHECK(contains(shape([&] { ad::cat({m, v}); }), {"cat", "(2, 3)", "(4,)"}));
  CHECK(contains(shape([&] { m.permute({0}); }), {"permute", "(2, 3)"}));
  CHECK(contains(shape([&] { ad::broadcast_to(m, {3, 3}); }), {"broadcast_to", "(2, 3)", "(3, 3)"}));
  CHECK(contains(shape([&] { ad::gather(m, 0, ad::zeros({3, 4}, ad::int64)); }), {"gather", "(2, 3)", "(3, 4)"}));
  CHECK(contains(shape([&] { ad::zeros({2, -1}); }), {"zeros", "(2, -1)"}));
  CHECK(contains(shape([&] { ad::amax(ad::zeros({0, 3}), 0); }), {"amax", "(0, 3)"}));
  CHECK(contains(dtype([&] { ad::matmul(i, i); }), {"matmul", "int64"}));
  CHECK(contains(dtype([&] { ad::mean(i); }), {"mean", "int64"}));
  CHECK(contains(dtype([&] { ad::where(m, m, m); }), {"where", "bool", "float32"}));
  CHECK(contains(dtype([&] { ad::gather(m, 0, m); }), {"gather", "float32", "int64"}));
  CHECK(contains(dtype([&] { (m > 0) - (m > 1); }), {"sub", "bool"}));
  CHECK(contains(value([&] { m[2]; }), {"index", "2", "(2, 3)"}));
  CHECK(contains(value([&] { ad::narrow(m, 1, 2, 2); }), {"narrow", "(2, 3)"}));
  CHECK(contains(value([&] { ad::dropout(m, 1.5); }), {"dropout", "1.5"}));
  CHECK(contains(value([&] { Tensor() + m; }), {"add", "undefined"}));
}

TEST_CASE("shapes that cannot be addressed throw when recorded, also where broadcasting makes them") {
  const std::int64_t n = std::int64_t{1} << 40;
  const Tensor column = ad::zeros({n, 1}), row = ad::zeros({1, n});
  CHECK(contains(message_of<ad::ShapeError>([&] { column + row; }), {"add", "1099511627776"}));
  CHECK(contains(message_of<ad::ShapeError>([&] { ad::matmul(column, row); }), {"matmul", "1099511627776"}));
  CHECK_THROWS_AS(ad::zeros({n, n}), ad::ShapeError);
  CHECK_THROWS_AS(ad::zeros({n, n, 0}), ad::ShapeError);
  CHECK_THROWS_AS(ad::zeros({0}).reshape({std::int64_t{1} << 32, std::int64_t{1} << 32}), ad::ShapeError);
  CHECK(column.numel() == n);
}

// -- what is computed when --------------------------------------------------------------------------------------------

TEST_CASE("each look computes, and what was computed stays") {
  const Tensor x = ad::tensor({3.0f});
  const auto looks_once = [&](const auto& look) {
    const int before = executions;
    const Tensor y = counted(x * 2);
    CHECK_FALSE(y.is_computed());
    look(y);
    CHECK(y.is_computed());
    CHECK(executions == before + 1);
    look(y);
    CHECK(executions == before + 1);
  };
  looks_once([](const Tensor& y) { CHECK(y.item<float>() == 6); });
  looks_once([](const Tensor& y) { CHECK(*y.data<float>() == 6); });
  looks_once([](const Tensor& y) { CHECK(floats(y) == Floats{6}); });
  looks_once([](const Tensor& y) { CHECK(ad::to_string(y) == "[6.]"); });
  looks_once([](const Tensor& y) {
    std::ostringstream out;
    out << y;
    CHECK(out.str() == "[6.]");
  });
  looks_once([](const Tensor& y) { ad::eval(y); });
  looks_once([](const Tensor& y) { CHECK(ad::equal(y, ad::tensor({6.0f}))); });
}

TEST_CASE("shape, dtype, size and requires_grad are no looks") {
  const Tensor w = parameter({1, 2});
  const Tensor y = w * 2;
  CHECK(y.shape() == ad::Shape{2});
  CHECK(y.size(-1) == 2);
  CHECK(y.dtype() == ad::float32);
  CHECK(y.requires_grad());
  CHECK_FALSE(y.is_leaf());
  CHECK_FALSE(y.is_computed());
}

TEST_CASE("what nobody can read is never computed") {
  const int before = executions;
  {
    const Tensor dropped = counted(ad::ones({3}));
    const Tensor unused = counted(dropped) + 1;
  }
  Tensor rebound = counted(ad::ones({3}));
  rebound = ad::ones({3});
  ad::detail::eval_pending();
  CHECK(executions == before);
}

TEST_CASE("a look computes what was asked for, the held values and cells that the same work feeds, and nothing else") {
  const Tensor x = ad::tensor({1.0f, 2.0f});
  Tensor cell = parameter({0, 0});
  Tensor other_cell = parameter({0, 0});
  Tensor trunk = counted(x * 2);
  const Tensor asked = trunk + 1, held = trunk * 10, fed_through = counted(ad::exp(held - 5) * 0) + 7;
  const Tensor unrelated = counted(x * 3);
  {
    const ad::NoGradGuard no_grad;
    cell += trunk;
    other_cell += unrelated;
  }
  trunk = Tensor();
  const int before = executions;
  CHECK(floats(asked) == Floats{3, 5});
  CHECK(held.is_computed());
  CHECK(fed_through.is_computed());
  CHECK(cell.is_computed());
  CHECK(executions == before + 2);
  CHECK_FALSE(unrelated.is_computed());
  CHECK_FALSE(other_cell.is_computed());
  CHECK(floats(held) == Floats{20, 40});
  CHECK(floats(fed_through) == Floats{7, 7});
  CHECK(floats(cell) == Floats{2, 4});
  CHECK(executions == before + 2);
}

TEST_CASE("held values are found through whichever handle was looked at, and however many there are") {
  for (int copies = 0; copies < 4; ++copies) {
    const Tensor asked = ad::ones({4}) * 2;
    const Tensor held = asked + 1;
    const std::vector<Tensor> more(static_cast<std::size_t>(copies), asked);
    SUBCASE("item") { CHECK(asked[0].item<float>() == 2); }
    SUBCASE("eval, twice the same") { ad::eval(asked, asked); }
    SUBCASE("data") { CHECK(*asked.data<float>() == 2); }
    CHECK(held.is_computed());
  }
}

TEST_CASE("everything held and pending is computed together, once") {
  const int before = executions;
  Tensor shared = counted(ad::ones({2}));
  const Tensor a = shared + 1, b = shared + 2;
  shared = Tensor();
  Tensor cell = parameter({1, 1});
  {
    const ad::NoGradGuard no_grad;
    cell *= a;
  }
  ad::detail::eval_pending();
  CHECK(a.is_computed());
  CHECK(b.is_computed());
  CHECK(cell.is_computed());
  CHECK(executions == before + 1);
  CHECK(ad::detail::ThreadState::get().pending.empty());
}

TEST_CASE("forcing a loss before backward() repeats nothing afterwards") {
  const Tensor w = parameter({1, 2, 3});
  const int before = executions;
  const Tensor loss = ad::sum(ad::square(counted(ad::tanh(counted(w)))));
  loss.item<float>();
  CHECK(executions == before + 2);
  loss.backward();
  floats(w.grad());
  CHECK(executions == before + 2);
}

TEST_CASE("matrix products and convolutions of a loss that was looked at are not computed again by its gradients") {
  const Tensor images = ad::randn({2, 1, 6, 6}), kernel = ad::randn({3, 1, 3, 3}).requires_grad_(),
               w = ad::randn({48, 5}).requires_grad_(), v = ad::randn({5, 2}).requires_grad_();
  const auto loss_of = [&] {
    const Tensor features = ad::relu(counted(ad::conv2d(images, kernel)));
    const Tensor hidden = ad::tanh(counted(ad::matmul(ad::reshape(features, {2, 48}), w)));
    return ad::nn::mse_loss(counted(ad::matmul(hidden, v)), ad::ones({2, 2}));
  };
  for (const bool looks : {false, true}) {
    const int before = executions;
    const Tensor loss = loss_of();
    if (looks) {
      loss.item<float>();
      CHECK(executions == before + 3);
    }
    loss.backward();
    ad::eval(kernel.grad(), w.grad(), v.grad());
    CHECK(executions == before + 3);
    for (const Tensor& parameter : {kernel, w, v}) parameter.set_grad({});
  }
}

TEST_CASE("a loop that never looks stays bounded: in nodes") {
  auto& pending = ad::detail::ThreadState::get().pending;
  const Tensor x = ad::ones({});
  std::size_t most = 0;
  SUBCASE("a chain") {
    Tensor sum = ad::zeros({});
    for (int i = 0; i < 400000; ++i) {
      sum = sum + x;
      most = std::max(most, pending.size());
    }
    CHECK(sum.item<float>() == 400000);
  }
  SUBCASE("work that is dropped at once") {
    for (int i = 0; i < 400000; ++i) {
      x + 1;
      most = std::max(most, pending.size());
    }
    CHECK(most < 2000);
  }
  SUBCASE("detach() of something pending") {
    Tensor y = x + 1;
    for (int i = 0; i < 400000; ++i) {
      y.detach();
      most = std::max(most, pending.size());
    }
    CHECK(most < 2000);
  }
  SUBCASE("assignments of something pending") {
    Tensor cell = ad::ones({}).requires_grad_(), y = x + 1;
    const ad::NoGradGuard no_grad;
    for (int i = 0; i < 400000; ++i) {
      cell.set_(y);
      most = std::max(most, pending.size());
    }
    CHECK(most < 2000);
    CHECK(cell.item<float>() == 2);
  }
  SUBCASE("an error waits in what depends on it, and does not come out of an unrelated line") {
    const Tensor bad = failing();
    Tensor sum = ad::zeros({});
    for (int i = 0; i < 400000; ++i) {
      sum = sum + x;
      most = std::max(most, pending.size());
    }
    CHECK(sum.item<float>() == 400000);
    CHECK_THROWS_AS(ad::eval(bad), ad::ValueError);
  }
  CHECK(most <= 140000);
}

// -- values are immutable ---------------------------------------------------------------------------------------------

TEST_CASE("there are no aliasing views: assigning through any handle leaves all others as they were") {
  Tensor x = ad::tensor({{1.0f, 2.0f}, {3.0f, 4.0f}});
  const Tensor row = x[0], flat = x.reshape({4}), same = x.reshape({2, 2}), copy = x, transposed = x.t();
  x += 10;
  CHECK(floats(x) == Floats{11, 12, 13, 14});
  CHECK(floats(row) == Floats{1, 2});
  CHECK(floats(flat) == Floats{1, 2, 3, 4});
  CHECK(floats(same) == Floats{1, 2, 3, 4});
  CHECK(floats(copy) == Floats{1, 2, 3, 4});
  CHECK(floats(transposed) == Floats{1, 3, 2, 4});
  Tensor part = x[1];
  part *= 0;
  CHECK(floats(part) == Floats{0, 0});
  CHECK(floats(x) == Floats{11, 12, 13, 14});
}

TEST_CASE("donation never shows: operands that are read again keep their values") {
  const Tensor x = ad::tensor({1.0f, 2.0f, 3.0f, 4.0f});
  Tensor a = x + 1;  // pending, used twice, and then dropped
  const Tensor b = a * a, c = a - 1, d = ad::exp(a) * 0 + a;
  a = Tensor();
  ad::eval(d, c, b);
  CHECK(floats(b) == Floats{4, 9, 16, 25});
  CHECK(floats(c) == Floats{1, 2, 3, 4});
  CHECK(floats(d) == Floats{2, 3, 4, 5});
  CHECK(floats(x) == Floats{1, 2, 3, 4});
  // Views of a buffer are readers of it.
  Tensor e = x * 2;
  const Tensor view = e.reshape({2, 2}), reversed = ad::flip(e, 0);
  ad::eval(view, reversed);
  const Tensor f = e + 1;
  e = Tensor();
  CHECK(floats(f) == Floats{3, 5, 7, 9});
  CHECK(floats(view) == Floats{2, 4, 6, 8});
  CHECK(floats(reversed) == Floats{8, 6, 4, 2});
}

// -- cells ------------------------------------------------------------------------------------------------------------

TEST_CASE("every handle copied from a cell sees it; any other handle is rebound alone") {
  Tensor p = parameter({1, 2});
  Tensor copy = p;
  const Tensor constant = p;
  {
    const ad::NoGradGuard no_grad;
    copy += 1;
    CHECK(floats(p) == Floats{2, 3});
    p -= ad::tensor({1.0f, 1.0f});
    CHECK(floats(constant) == Floats{1, 2});
    p *= 3;
    copy /= 2;
    CHECK(floats(constant) == Floats{1.5f, 3});
    p.fill_(7);
    CHECK(floats(copy) == Floats{7, 7});
    p.zero_();
    CHECK(floats(copy) == Floats{0, 0});
    copy.set_(ad::tensor({5.0f, 6.0f}));
  }
  CHECK(floats(constant) == Floats{5, 6});
  CHECK(p.is_leaf());
  CHECK(p.requires_grad());

  Tensor x = ad::tensor({1.0f});
  const Tensor y = x;
  x += 1;
  CHECK(floats(x) == Floats{2});
  CHECK(floats(y) == Floats{1});
}

TEST_CASE("a loop over handles of parameters updates the parameters") {
  struct Net {
    Tensor weight = parameter({1, 2}), bias = parameter({3});
    std::vector<Tensor> parameters() const { return {weight, bias}; }
  } net;
  ad::sum(net.weight * net.bias).backward();
  {
    const ad::NoGradGuard no_grad;
    for (Tensor p : net.parameters()) p -= 0.5f * p.grad();
  }
  CHECK(floats(net.weight) == Floats{-0.5f, 0.5f});
  CHECK(floats(net.bias) == Floats{1.5f});
  for (Tensor& p : std::vector<Tensor>{net.weight, net.bias}) {
    CHECK(p.is_leaf());
    CHECK(p.requires_grad());
  }
  // The next step goes on from there.
  ad::sum(net.weight * net.bias).backward();
  CHECK(floats(net.weight.grad()) == Floats{3 + 1.5f, 3 + 1.5f});
}

TEST_CASE("with grad mode on, assigning a leaf that requires grad throws, by name, and changes nothing") {
  Tensor p = parameter({1, 2});
  const Tensor one = ad::ones({2});
  const auto error = [](const auto& f) { return message_of<ad::AutogradError>(f); };
  CHECK(contains(error([&] { p += one; }), {"add_", "(2,)", "NoGradGuard"}));
  CHECK(contains(error([&] { p -= 1; }), {"sub_"}));
  CHECK(contains(error([&] { p *= one; }), {"mul_"}));
  CHECK(contains(error([&] { p /= 2; }), {"div_"}));
  CHECK(contains(error([&] { p.fill_(0); }), {"fill_"}));
  CHECK(contains(error([&] { p.set_(one); }), {"set_"}));
  CHECK(floats(p) == Floats{1, 2});
  // A cell that does not require grad may be assigned at any time, and cuts the derivative.
  Tensor buffer = ad::tensor({0.0f, 0.0f}).requires_grad_().requires_grad_(false);
  const Tensor handle = buffer;
  buffer += p;
  CHECK_FALSE(handle.requires_grad());
  CHECK(floats(handle) == Floats{1, 2});
}

TEST_CASE("a cell keeps its shape and dtype") {
  Tensor p = parameter({1, 2});
  const ad::NoGradGuard no_grad;
  CHECK(contains(message_of<ad::ShapeError>([&] { p += ad::ones({3, 2}); }), {"add_", "(3, 2)", "(2,)"}));
  CHECK(contains(message_of<ad::ShapeError>([&] { p.set_(ad::ones({1})); }), {"set_", "(1,)", "(2,)"}));
  CHECK_THROWS_AS(p.set_(ad::tensor({1, 2})), ad::DtypeError);
  p.set_(ad::tensor({3.0, 4.0}, ad::float64));
  p += ad::tensor({0.5, 0.5}, ad::float64);
  CHECK(p.dtype() == ad::float32);
  CHECK(floats(p) == Floats{3.5f, 4.5f});
}

TEST_CASE("work recorded before an assignment keeps the value it was recorded with") {
  Tensor p = parameter({1, 2});
  const Tensor pending = p * p, computed = p * 10, same = p.reshape({2}), cast = p.to(ad::float32),
               detached = p.detach(), kept = ad::dropout(p, 0.5, false), all = p.index({ad::Ellipsis}),
               flat = p.flatten(), one = ad::cat({p});
  ad::eval(computed);
  {
    const ad::NoGradGuard no_grad;
    p += 100;
    p *= 2;
  }
  for (const Tensor& x : {same, cast, detached, kept, all, flat, one}) CHECK(floats(x) == Floats{1, 2});
  CHECK(floats(pending) == Floats{1, 4});
  CHECK(floats(computed) == Floats{10, 20});
  CHECK(floats(p) == Floats{202, 204});
  // The derivative, too, is the one at the old value, and reaches the cell.
  ad::sum(pending).backward();
  CHECK(floats(p.grad()) == Floats{2, 4});
}

TEST_CASE("several values of one cell in a graph all contribute to its gradient") {
  Tensor p = parameter({2});
  const Tensor before = p * p;
  {
    const ad::NoGradGuard no_grad;
    p += 1;
  }
  const Tensor loss = ad::sum(before + p * p);
  CHECK(loss.item<float>() == 4 + 9);
  const Tensor g = ad::autograd::grad({loss}, {p}, {{}, true})[0];
  CHECK(floats(g) == Floats{4 + 6});
  loss.backward();
  CHECK(floats(p.grad()) == Floats{4 + 6});
}

TEST_CASE("operations that have nothing to do return a value, differentiable as grad mode says") {
  Tensor p = parameter({1, 2});
  Tensor same = p.reshape({2});
  CHECK(same.requires_grad());
  ad::sum(same * 3).backward();
  CHECK(floats(p.grad()) == Floats{3, 3});
  same += 1;  // no leaf is assigned: this handle is rebound
  CHECK(floats(p) == Floats{1, 2});
  const ad::NoGradGuard no_grad;
  CHECK_FALSE(p.reshape({2}).requires_grad());
  CHECK_FALSE(p.to(ad::float32).requires_grad());
}

TEST_CASE("an update of a cell that is computed as an intermediate value is not lost with it") {
  Tensor p = parameter({1, 2});
  const ad::NoGradGuard no_grad;
  p.set_(p * 2);
  Tensor y = p * 10;          // reads the second value
  p.set_(ad::ones({2}) * 3);  // the second value has no other reader
  CHECK(floats(y) == Floats{20, 40});
  CHECK(floats(p) == Floats{3, 3});
  // Many times, looked at here and there.
  for (int i = 0; i < 100; ++i) {
    p.set_(p + 1);
    y = p * 10;
    p.set_(p * 1 - 1);
    if (i % 3 == 0) CHECK(floats(y) == Floats{40, 40});
    if (i % 5 == 0) CHECK(floats(p) == Floats{3, 3});
  }
  CHECK(floats(p) == Floats{3, 3});
}

TEST_CASE("a handle keeps its value when a cell, or two, have taken it, and are assigned again") {
  const Tensor x = ad::tensor({1.0, 2.0});
  Tensor a = parameter({0, 0}).requires_grad_(false), b = parameter({0, 0}).requires_grad_(false);
  for (const bool looked_at : {false, true}) {
    const Tensor m = x * 2;
    a.set_(m);
    b.set_(m);
    if (looked_at) CHECK(floats(b) == Floats{2, 4});
    for (int i = 0; i < 3; ++i) {
      a.set_(a * 3);
      if (looked_at) ad::eval(a);
    }
    CHECK(floats(a) == Floats{54, 108});
    CHECK(floats(b) == Floats{2, 4});
    CHECK(floats(m) == Floats{2, 4});
  }
  // As a leaf that requires grad afterwards, while it is pending.
  a.set_(x * 5);
  a.requires_grad_(true);
  ad::sum(a * a).backward();
  CHECK(floats(a.grad()) == Floats{10, 20});
  CHECK(floats(a) == Floats{5, 10});
}

TEST_CASE("requires_grad_ is for leaves of floating dtypes") {
  CHECK(contains(message_of<ad::AutogradError>([] {
                   ad::tensor({1, 2}).requires_grad_();
                 }),
                 {"requires_grad_", "int64", "float32"}));
  CHECK_THROWS_AS(ad::tensor({true}).requires_grad_(), ad::AutogradError);
  const Tensor w = parameter({1});
  Tensor y = w * 2;
  CHECK_THROWS_AS(y.requires_grad_(false), ad::AutogradError);
  Tensor p = parameter({1, 2});
  const Tensor with = p * 2;
  p.requires_grad_(false);
  const Tensor without = p * 2;
  CHECK(with.requires_grad());
  CHECK_FALSE(without.requires_grad());
  CHECK(floats(with) == floats(without));
}

TEST_CASE("undefined Tensors throw at any use but a few") {
  Tensor none;
  CHECK_FALSE(none.defined());
  CHECK(ad::to_string(none) == "undefined");
  Tensor copy = none;
  copy = none;
  CHECK_THROWS_AS(none.shape(), ad::ValueError);
  CHECK_THROWS_AS(none.item<float>(), ad::ValueError);
  CHECK_THROWS_AS(ad::exp(none), ad::ValueError);
  CHECK_THROWS_AS(none.backward(), ad::ValueError);
  CHECK_THROWS_AS(none += 1, ad::ValueError);
  Tensor x = ad::ones({2});
  const Tensor moved = std::move(x);
  CHECK_FALSE(x.defined());  // NOLINT: that is what is tested
  CHECK(floats(moved) == Floats{1, 1});
  Tensor self = ad::ones({1});
  Tensor& alias = self;
  self = alias;
  self = std::move(alias);
  CHECK(floats(self) == Floats{1});
}

// -- backward() and release -------------------------------------------------------------------------------------------

TEST_CASE("backward() accumulates; an undefined gradient is not a zero one") {
  const Tensor used = parameter({1, 2}), unused = parameter({1}), times_zero = parameter({5});
  const Tensor loss = ad::sum(used * used) + ad::sum(times_zero * 0);
  loss.backward({}, true);
  CHECK(floats(used.grad()) == Floats{2, 4});
  CHECK_FALSE(unused.grad().defined());
  CHECK(ad::to_string(unused.grad()) == "undefined");
  REQUIRE(times_zero.grad().defined());
  CHECK(floats(times_zero.grad()) == Floats{0});
  loss.backward();
  CHECK(floats(used.grad()) == Floats{4, 8});
  used.set_grad(Tensor());
  CHECK_FALSE(used.grad().defined());
  const std::vector<Tensor> g = ad::autograd::grad({ad::sum(used)}, {used, unused}, {{}, {}, false, true});
  CHECK(g[0].defined());
  CHECK_FALSE(g[1].defined());
  CHECK(contains(message_of<ad::AutogradError>([&] { ad::autograd::grad({ad::sum(used)}, {unused}); }),
                 {"grad", "input 0", "(1,)", "allow_unused"}));
}

TEST_CASE("backward() of what cannot be differentiated throws, by name") {
  const Tensor w = parameter({1, 2});
  const auto error = [](const auto& f) { return message_of<ad::AutogradError>(f); };
  CHECK(contains(error([&] { (w * 2).backward(); }), {"backward", "(2,)", "scalar"}));
  CHECK(contains(error([&] { ad::ones({}).backward(); }), {"backward", "()", "does not require grad"}));
  CHECK(contains(error([&] { ad::sum(w.detach()).backward(); }), {"backward", "does not require grad"}));
  CHECK(contains(error([&] { (w > 0).backward(ad::ones({2})); }), {"backward", "bool"}));
  CHECK_THROWS_AS((w * 2).backward(ad::ones({3})), ad::ShapeError);
  CHECK_THROWS_AS((w * 2).backward(ad::ones({2}, ad::float64)), ad::DtypeError);
  {
    const ad::NoGradGuard no_grad;
    const Tensor y = ad::sum(w * w);
    CHECK_FALSE(y.requires_grad());
    const ad::EnableGradGuard enable;
    CHECK(ad::sum(w * w).requires_grad());
    CHECK_THROWS_AS(y.backward(), ad::AutogradError);
  }
  CHECK_FALSE(w.grad().defined());
  (w * 2).backward(ad::tensor({1.0f, 10.0f}));
  CHECK(floats(w.grad()) == Floats{2, 20});
}

TEST_CASE("after backward() values can be looked at, and a second backward() throws and names the first") {
  for (const bool looked_before : {false, true}) {
    const Tensor w = parameter({1, 2});
    const Tensor h = ad::exp(w), y = h * h, loss = ad::sum(y);
    if (looked_before) ad::eval(loss);
    loss.backward();
    CHECK(floats(h)[0] == doctest::Approx(std::exp(1.0f)));
    CHECK(floats(y)[1] == doctest::Approx(std::exp(4.0f)));
    CHECK(loss.item<float>() == doctest::Approx(std::exp(2.0f) + std::exp(4.0f)));
    CHECK(contains(message_of<ad::AutogradError>([&] { loss.backward(); }),
                   {"backward", "released", "'sum'", "retain_graph"}));
    CHECK(contains(message_of<ad::AutogradError>([&] { ad::sum(y * 3).backward(); }), {"'mul'", "'sum'"}));
    CHECK_THROWS_AS(ad::autograd::grad({ad::sum(h)}, {w}), ad::AutogradError);
    const Floats once = floats(w.grad());
    CHECK(once[0] == doctest::Approx(2 * std::exp(2.0f)));
    CHECK(floats(w.grad()) == once);
  }
}

TEST_CASE("a shared trunk with two losses needs retain_graph, and then gives the gradient of their sum") {
  for (const bool look : {false, true}) {
    const Tensor w = parameter({1, 2}), head = parameter({3, 4});
    const auto losses = [&] {
      const Tensor trunk = ad::exp(w) * w;
      return std::pair(ad::sum(trunk * head), ad::sum(ad::square(trunk)));
    };
    auto [first, second] = losses();
    if (look) ad::eval(first, second);
    first.backward();
    CHECK_THROWS_AS(second.backward(), ad::AutogradError);

    w.set_grad({});
    head.set_grad({});
    std::tie(first, second) = losses();
    if (look) ad::eval(first, second);
    first.backward({}, true);
    second.backward();
    const Floats by_two = floats(w.grad());
    w.set_grad({});
    std::tie(first, second) = losses();
    (first + second).backward();
    const Floats by_one = floats(w.grad());
    for (std::size_t i = 0; i < 2; ++i) CHECK(by_two[i] == doctest::Approx(by_one[i]));
    CHECK_THROWS_AS(second.backward(), ad::AutogradError);
  }
}

TEST_CASE("create_graph keeps the graph, and the gradient can be differentiated") {
  const Tensor w = parameter({2, 3});
  const Tensor loss = ad::sum(w * w * w);
  const Tensor g = ad::autograd::grad({loss}, {w}, {{}, {}, true})[0];
  CHECK(g.requires_grad());
  CHECK(floats(g) == Floats{12, 27});
  ad::sum(g * g).backward();  // 2 * 3w^2 * 6w
  CHECK(floats(w.grad()) == Floats{288, 972});
  CHECK_THROWS_AS(loss.backward(), ad::AutogradError);
  w.set_grad({});
  const Tensor again = ad::sum(w * w);
  again.backward({}, {}, true);
  CHECK(w.grad().requires_grad());
  w.set_grad(w.grad().detach());
  again.backward();
  CHECK(floats(w.grad()) == Floats{8, 12});
  CHECK_FALSE(w.grad().requires_grad());
}

TEST_CASE("a partial gradient releases only what it went through") {
  const Tensor w = parameter({1, 2});
  const Tensor h = w * w, loss = ad::sum(h * h);
  CHECK(floats(ad::autograd::grad({loss}, {h})[0]) == Floats{2, 8});
  CHECK_THROWS_AS(loss.backward(), ad::AutogradError);
  ad::sum(h).backward();  // below h nothing was released
  CHECK(floats(w.grad()) == Floats{2, 4});
}

TEST_CASE("gradients and cotangents are values: they do not change with the cells that they came from") {
  Tensor w = parameter({1, 2}), given = parameter({1, 1});
  (w + 1).backward(given);
  const Tensor g = w.grad();
  CHECK_FALSE(g.requires_grad());
  const Tensor other = parameter({0, 0});
  other.set_grad(given);
  {
    const ad::NoGradGuard no_grad;
    given += 5;
    w += 1;
  }
  CHECK(floats(w.grad()) == Floats{1, 1});
  CHECK(floats(other.grad()) == Floats{1, 1});
  const auto [y, dy] = ad::jvp([](const Tensor& x) { return x + 1; }, {w.detach()}, {given});
  {
    const ad::NoGradGuard no_grad;
    given += 5;
  }
  CHECK(floats(dy) == Floats{6, 6});
  CHECK(floats(given) == Floats{11, 11});
}

TEST_CASE("set_grad checks what it is given") {
  const Tensor w = parameter({1, 2});
  CHECK_THROWS_AS(ad::ones({2}).set_grad(ad::ones({2})), ad::AutogradError);
  CHECK_THROWS_AS(w.set_grad(ad::ones({3})), ad::ShapeError);
  CHECK_THROWS_AS(w.set_grad(ad::ones({2}, ad::float64)), ad::DtypeError);
}

TEST_CASE("no gradient flows through detach() and stop_gradient(), and neither is a cell") {
  Tensor w = parameter({1, 2});
  Tensor d = w.detach();
  const Tensor s = ad::stop_gradient(w * 2);
  CHECK_FALSE(d.requires_grad());
  CHECK_FALSE(s.requires_grad());
  ad::sum(w * d + s).backward();
  CHECK(floats(w.grad()) == Floats{1, 2});
  d += 5;
  CHECK(floats(w) == Floats{1, 2});
}

// -- failures ---------------------------------------------------------------------------------------------------------

TEST_CASE("what depends on a failed computation throws again whenever it is looked at; nothing else does") {
  const Tensor x = ad::tensor({1.0f, 2.0f});
  const Tensor bad = failing(), fine = x * 2;
  const Tensor dependant = bad + fine;
  const auto look = [](const Tensor& t) { return message_of<ad::ValueError>([&] { t.to_vector<float>(); }); };
  const std::string first = look(dependant);
  CHECK(contains(first, {"gather", "7", "(2,)"}));
  CHECK(look(dependant) == first);
  CHECK(look(bad) == first);
  CHECK(look(dependant * 2) == first);
  CHECK_THROWS_AS(ad::to_string(bad), ad::ValueError);
  CHECK_THROWS_AS(ad::eval(fine, dependant), ad::ValueError);
  CHECK(floats(fine) == Floats{2, 4});
  CHECK(floats(fine + x) == Floats{3, 6});
  // Held and failed, it does not get into the way of other evaluations, not even of those that it shares work with.
  Tensor shared = x * 3;
  const Tensor later_dependant = shared + dependant;
  Tensor cell = parameter({0, 0});
  {
    const ad::NoGradGuard no_grad;
    cell += shared;
  }
  CHECK(floats(shared) == Floats{3, 6});
  CHECK(floats(cell) == Floats{3, 6});
  CHECK(look(later_dependant) == first);
  CHECK_NOTHROW(ad::detail::eval_pending());
}

TEST_CASE("a failed evaluation leaves every cell at its old value, and the next one works") {
  Tensor p = parameter({1, 2}), q = parameter({3, 4});
  const ad::NoGradGuard no_grad;
  SUBCASE("one cell") {
    p += failing();
    CHECK_THROWS_AS(floats(p), ad::ValueError);
    CHECK(floats(p) == Floats{1, 2});
  }
  SUBCASE("a failure that had been seen before") {
    const Tensor bad = failing();
    CHECK_THROWS_AS(ad::eval(bad), ad::ValueError);
    p += bad;
    CHECK_THROWS_AS(floats(p), ad::ValueError);
    CHECK(floats(p) == Floats{1, 2});
  }
  SUBCASE("an optimizer's step: updates commit together") {
    p += 1;
    q += failing();
    CHECK_THROWS_AS(ad::detail::eval_pending(), ad::ValueError);
    CHECK(floats(p) == Floats{1, 2});
    CHECK(floats(q) == Floats{3, 4});
    CHECK_NOTHROW(ad::detail::eval_pending());
  }
  SUBCASE("the updates after the failed one") {
    p += 1;
    p += failing();
    p += 1;
    q += p;
    CHECK_THROWS_AS(ad::detail::eval_pending(), ad::ValueError);
    CHECK(floats(p) == Floats{1, 2});
    CHECK(floats(q) == Floats{3, 4});
  }
  SUBCASE("a handle that feeds no cell") {
    Tensor shared = counted(p * 2);
    const Tensor bad = ad::gather(shared, 0, ad::tensor({0, 9}));
    q.set_(shared);
    CHECK_THROWS_AS(ad::eval(bad), ad::ValueError);
    CHECK(floats(q) == Floats{3, 4});
  }
  SUBCASE("an assignment that was made after the failing one is another evaluation") {
    p.set_(failing());
    const Tensor reader = p * 2;
    p.set_(q * 1);
    CHECK_THROWS_AS(ad::eval(reader), ad::ValueError);
    CHECK(floats(p) == Floats{3, 4});
    p.set_(ad::tensor({1.0f, 2.0f}));
  }
  SUBCASE("a cell whose first value fails has no old one") {
    Tensor r = failing().requires_grad_();
    CHECK_THROWS_AS(floats(r), ad::ValueError);
    CHECK_THROWS_AS(floats(r), ad::ValueError);
    r.set_(ad::tensor({1.0f, 2.0f}));
    CHECK(floats(r) == Floats{1, 2});
  }
  p += 10;
  q += 10;
  ad::detail::eval_pending();
  CHECK(floats(p) == Floats{11, 12});
  CHECK(floats(q) == Floats{13, 14});
}

TEST_CASE("a step that fails in the loss leaves the parameters, and the next step trains") {
  Tensor w = ad::ones({3}).requires_grad_();
  const auto step = [&](const Tensor& labels) {
    w.set_grad({});
    const Tensor loss = -ad::sum(ad::gather(ad::log_softmax(w, 0), 0, labels));
    loss.backward();
    {
      const ad::NoGradGuard no_grad;
      w -= w.grad();
    }
    ad::detail::eval_pending();
  };
  CHECK_THROWS_AS(step(ad::tensor({0, 3})), ad::ValueError);
  CHECK(floats(w) == Floats{1, 1, 1});
  step(ad::tensor({0}));
  CHECK(floats(w)[0] == doctest::Approx(1 + 2.0 / 3));
}

TEST_CASE("backward() through a failed computation throws its error instead of leaving gradients out") {
  const Tensor w = parameter({1, 2});
  const Tensor loss = ad::sum(ad::gather(w, 0, ad::tensor({0, 5})));
  CHECK_THROWS_AS(loss.item<float>(), ad::ValueError);
  CHECK(contains(message_of<ad::ValueError>([&] { loss.backward(); }), {"gather", "5"}));
  CHECK_THROWS_AS(ad::autograd::grad({loss * 2}, {w}), ad::ValueError);
  CHECK_FALSE(w.grad().defined());
  // Recorded before anybody knew, the gradient throws when looked at.
  const Tensor other = ad::sum(ad::gather(w, 0, ad::tensor({0, 5})));
  other.backward();
  CHECK_THROWS_AS(floats(w.grad()), ad::ValueError);
  CHECK_THROWS_AS(ad::sum(w).backward(), ad::ValueError);  // it would be added to that
  w.set_grad({});
  ad::sum(w).backward();
  CHECK(floats(w.grad()) == Floats{1, 1});
}

TEST_CASE("an error found when computed names the module that recorded it") {
  Tensor bad;
  {
    const ad::detail::ModuleScope outer("encoder"), inner("table");
    bad = failing();
  }
  try {
    ad::eval(bad * 2);
    FAIL("nothing was thrown");
  } catch (const ad::ValueError& error) {
    CHECK(error.module_path() == "encoder.table");
    CHECK(contains(error.what(), {"encoder.table: gather"}));
  }
}

// -- EagerGuard -------------------------------------------------------------------------------------------------------

TEST_CASE("under an EagerGuard each operation is computed as it is recorded") {
  const Tensor w = parameter({1, 2});
  Tensor p = parameter({1, 2});
  const ad::EagerGuard eager;
  const int before = executions;
  const Tensor y = counted(w * 3);
  CHECK(executions == before + 1);
  CHECK(y.is_computed());
  CHECK(y.detach().is_computed());
  ad::sum(y).backward();
  CHECK(w.grad().is_computed());
  CHECK(floats(w.grad()) == Floats{3, 3});
  CHECK_THROWS_AS(failing(), ad::ValueError);  // on this line, without a look
  const ad::NoGradGuard no_grad;
  p += y;
  CHECK(p.is_computed());
  CHECK_THROWS_AS(p += failing(), ad::ValueError);
  CHECK(floats(p) == Floats{4, 8});
}

// -- size -------------------------------------------------------------------------------------------------------------

namespace {

/// Records, differentiates, computes and destroys a chain, with handles alive at the end only.
void long_chain(int length, bool requires_grad, bool detach_between, ad::Dtype dtype = ad::float64) {
  const Tensor w = ad::zeros({}, dtype).requires_grad_(requires_grad);
  {
    Tensor y = w;
    for (int i = 0; i < length; ++i) {
      y = y + 1;
      if (detach_between && i % 2) y = y.detach();
    }
    if (requires_grad && !detach_between) y.backward();
    CHECK(y.item<double>() == length);
  }
  if (requires_grad && !detach_between) {
    CHECK(w.grad().item<double>() == 1);
    w.set_grad({});
    Tensor y = w;
    for (int i = 0; i < length; ++i) y = y * 1;
    CHECK(y.item<double>() == 0);
    y.backward({}, true);  // kept, and destroyed as a computed graph
    CHECK(w.grad().item<double>() == 1);
  }
}

}  // namespace

TEST_CASE("long chains are recorded, differentiated, computed and destroyed without recursion") {
  ad::probe::run_with_stack(256, [] {
    long_chain(100000, true, false);
    long_chain(100000, false, false);
    long_chain(100000, false, true);
    Tensor pending = ad::zeros({});
    for (int i = 0; i < 100000; ++i) pending = ad::exp(pending);
    pending = Tensor();  // destroyed without having been computed
    // Cells that were assigned from each other, too.
    Tensor p = ad::zeros({}).requires_grad_();
    const ad::NoGradGuard no_grad;
    for (int i = 0; i < 50000; ++i) p += 1;
    CHECK(p.item<float>() == 50000);
    for (int i = 0; i < 50000; ++i) p += 1;
    p = Tensor();
  });
}

TEST_CASE("a chain of a million operations" * doctest::test_suite("slow")) {
  ad::probe::run_with_stack(256, [] {
    long_chain(1000000, true, false);
    long_chain(1000000, false, false);
  });
}

TEST_CASE("a failed chain is long, too") {
  ad::probe::run_with_stack(256, [] {
    Tensor y = failing();
    for (int i = 0; i < 100000; ++i) y = y + 1;
    CHECK_THROWS_AS(ad::eval(y), ad::ValueError);
  });
}

TEST_CASE("y = x + x, 60 times: linear time forward, backward and to the second order") {
  const double seconds = seconds_of([] {
    const Tensor w = ad::ones({}, ad::float64).requires_grad_();
    Tensor y = w;
    for (int i = 0; i < 60; ++i) y = y + y;
    CHECK(y.item<double>() == std::ldexp(1.0, 60));
    y.backward();
    CHECK(w.grad().item<double>() == std::ldexp(1.0, 60));

    const auto f = [](const Tensor& x) {
      Tensor z = x * x;
      for (int i = 0; i < 60; ++i) z = z + z;
      return z;
    };
    const Tensor x = ad::tensor(3.0, ad::float64);
    CHECK(ad::grad(f)(x).item<double>() == std::ldexp(6.0, 60));
    CHECK(ad::grad(ad::grad(f))(x).item<double>() == std::ldexp(2.0, 60));
    CHECK(ad::hessian(f)(x).item<double>() == std::ldexp(2.0, 60));
    const auto [value, tangent] = ad::jvp(f, {x}, {ad::ones({}, ad::float64)});
    CHECK(tangent.item<double>() == std::ldexp(6.0, 60));
    CHECK(value.item<double>() == std::ldexp(9.0, 60));
  });
  CHECK(seconds < 1);
}

TEST_CASE("ten thousand parameters in one graph are differentiated in linear time") {
  const auto seconds_with = [](int count) {
    std::vector<Tensor> parameters;
    for (int i = 0; i < count; ++i) parameters.push_back(ad::ones({}).requires_grad_());
    return seconds_of([&] {
      for (int step = 0; step < 2; ++step) {
        Tensor sum = ad::zeros({});
        for (const Tensor& p : parameters) sum = sum + p * p;
        sum.backward({}, true);
        ad::autograd::grad({sum}, parameters);
        const ad::NoGradGuard no_grad;
        for (Tensor p : parameters) p -= 0.1f * p.grad();
        ad::detail::eval_pending();
      }
    });
  };
  seconds_with(1000);
  CHECK(seconds_with(10000) < 40 * std::max(seconds_with(1000), 0.001));
}

TEST_CASE("looking at each of many pending tensors does not go through all of them every time") {
  const Tensor x = ad::ones({});
  const auto seconds_with = [&](int count) {
    std::vector<Tensor> pending;
    for (int i = 0; i < count; ++i) {
      pending.push_back(x + i);
      pending.push_back(pending.back() * 2);
    }
    return seconds_of([&] {
      for (const Tensor& each : pending) {
        const Tensor another_handle = each;
        each.item<float>();
      }
    });
  };
  seconds_with(1000);
  CHECK(seconds_with(50000) < 200 * std::max(seconds_with(1000), 0.0005));
}

// -- random programs --------------------------------------------------------------------------------------------------

// Programs of records, assignments, looks, drops and detaches, run on Tensors and, at once, on plain numbers.
TEST_CASE("random programs of handles and cells agree with plain arithmetic, however they are looked at") {
  for (unsigned seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    struct Variable {
      Tensor tensor;
      std::array<double, 3> value;
    };
    std::vector<Variable> cells, handles;
    const ad::NoGradGuard no_grad;
    for (int i = 0; i < 3; ++i) {
      const double v = i + 1;
      cells.push_back({ad::tensor({v, 2 * v, -v}, ad::float64).requires_grad_(i != 1), {v, 2 * v, -v}});
      handles.push_back({ad::tensor({v, v, v}, ad::float64), {v, v, v}});
    }
    const auto operand = [&]() -> const Variable& {
      return random() % 3 ? handles[pick(handles.size())] : cells[pick(cells.size())];
    };
    const auto combine = [&](const Variable& a, const Variable& b) {
      Variable result{Tensor(), {}};
      const std::size_t kind = pick(6);
      if (kind == 0) result.tensor = a.tensor * b.tensor * 0.25;
      else if (kind == 1) result.tensor = a.tensor - b.tensor;
      else if (kind == 2) result.tensor = ad::flip(a.tensor, 0) + b.tensor * 0.5;
      else if (kind == 3) result.tensor = a.tensor.reshape({3});
      else if (kind == 4) result.tensor = ad::cat({b.tensor[ad::Slice(1, 3)], a.tensor[ad::Slice(0, 1)]});
      else result.tensor = ad::broadcast_to(ad::sum(a.tensor) * 0.25, {3});
      for (std::size_t i = 0; i < 3; ++i) {
        const double x = a.value[i], y = b.value[i];
        if (kind == 0) result.value[i] = x * y * 0.25;
        else if (kind == 1) result.value[i] = x - y;
        else if (kind == 2) result.value[i] = a.value[2 - i] + y * 0.5;
        else if (kind == 3) result.value[i] = x;
        else if (kind == 4) result.value[i] = i < 2 ? b.value[i + 1] : a.value[0];
        else result.value[i] = (a.value[0] + a.value[1] + a.value[2]) * 0.25;
      }
      return result;
    };
    const auto check = [](const Variable& v) {
      const std::vector<double> values = v.tensor.to_vector<double>();
      for (std::size_t i = 0; i < 3; ++i) REQUIRE(values[i] == doctest::Approx(v.value[i]).epsilon(1e-9));
    };
    for (int step = 0; step < 60; ++step) {
      const std::size_t action = pick(12);
      if (action < 4) {
        handles.push_back(combine(operand(), operand()));
      } else if (action < 6) {
        Variable& cell = cells[pick(cells.size())];
        const Variable change = combine(operand(), operand());
        Tensor handle = cell.tensor;  // any handle does
        if (random() % 2) {
          handle.set_(change.tensor);
          cell.value = change.value;
        } else {
          handle -= change.tensor;
          for (std::size_t i = 0; i < 3; ++i) cell.value[i] -= change.value[i];
        }
        handle *= 0.5;  // so that values stay small
        for (double& v : cell.value) v *= 0.5;
      } else if (action == 6) {
        Variable& handle = handles[pick(handles.size())];
        const Variable& other = operand();
        if (&handle == &other) continue;
        handle.tensor += other.tensor;
        for (std::size_t i = 0; i < 3; ++i) handle.value[i] += other.value[i];
      } else if (action == 7) {
        check(operand());
      } else if (action == 8 && handles.size() > 1) {
        handles.erase(handles.begin() + static_cast<std::ptrdiff_t>(pick(handles.size())));
      } else if (action == 9) {
        Variable& handle = handles[pick(handles.size())];
        handle.tensor = handle.tensor.detach();
      } else if (action == 10 && random() % 3 == 0) {
        ad::detail::eval_pending();
      } else if (action == 11) {
        ad::detail::eval_pending();  // so that a failure has no part in what is assigned, and changes nothing
        const Tensor bad = ad::gather(operand().tensor, 0, ad::tensor({0, 1, 3}));
        REQUIRE_THROWS_AS(ad::eval(bad), ad::ValueError);
      }
    }
    for (const Variable& handle : handles) check(handle);
    for (const Variable& cell : cells) check(cell);
  }
}

TEST_CASE("a product with itself is differentiated twice, whatever was looked at before") {
  const auto second = [](bool eager, bool look) {
    std::optional<ad::EagerGuard> guard;
    if (eager) guard.emplace();
    const Tensor x = ad::arange(6).to(ad::float64).reshape({2, 3}).requires_grad_();
    const Tensor rows = ad::sum(x * x, -1, true), loss = ad::sum(rows * rows * rows);
    const Tensor gradient = ad::autograd::grad({loss}, {x}, {{}, {}, true})[0];
    if (look) ad::eval(gradient);
    return ad::autograd::grad({ad::sum(gradient)}, {x})[0].to_vector<double>();
  };
  // The sum of the gradient of sum_r (sum_c x_rc^2)^3, 6 s_r^2 x_rc: its derivative is 6 s_r^2 + 24 s_r x_rc sum_c
  // x_rc.
  std::vector<double> expected;
  for (const double first : {0.0, 3.0}) {
    const double s = first * first + (first + 1) * (first + 1) + (first + 2) * (first + 2), total = 3 * first + 3;
    for (int c = 0; c < 3; ++c) expected.push_back(6 * s * s + 24 * s * (first + c) * total);
  }
  for (const bool eager : {false, true})
    for (const bool look : {false, true}) CHECK(second(eager, look) == expected);
}

TEST_CASE("a product with itself is differentiated by its cotangent, and not through what that was made of") {
  for (const bool look : {false, true}) {
    CAPTURE(look);
    const Tensor x = ad::tensor({1.0, 2.0, 3.0}).requires_grad_(), r = ad::tensor({2.0}).requires_grad_();
    const Tensor v = ad::broadcast_to(r, {3});
    if (look) ad::eval(v);
    const Tensor g = ad::autograd::grad({x * x}, {x}, {{v}, {}, true})[0];
    CHECK(ad::autograd::grad({ad::sum(g)}, {v})[0].to_vector<float>() == std::vector<float>{2, 4, 6});
    Tensor constant;
    {
      const ad::NoGradGuard no_grad;
      constant = ad::broadcast_to(r, {3});
    }
    if (look) ad::eval(constant);
    ad::sum(ad::autograd::grad({x * x}, {x}, {{constant}, {}, true})[0]).backward();
    CHECK(!r.grad().defined());
  }
}
