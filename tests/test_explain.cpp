// The plan of a computation in words: exactly what would be computed, and nothing is.
#include "core/node.hpp"
#include "engine/cost.hpp"
#include "engine/explain.hpp"
#include "engine/memory_order.hpp"
#include "message_of.hpp"
#include "ops/table/table.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace ad = adjoint;
namespace nn = adjoint::nn;
using ad::Explanation;
using ad::Tensor;
using ad::detail::Access;
using ad::detail::Node;

namespace {

Tensor computed(const ad::Shape& shape, ad::Dtype dtype = ad::float32) {
  Tensor x = ad::randn(shape, dtype);
  ad::eval(x);
  return x;
}

bool has(const Explanation& explanation, const std::string& text) {
  return explanation.text.find(text) != std::string::npos;
}

std::int64_t bytes(const Explanation& explanation) { return explanation.bytes_read + explanation.bytes_written; }

/// Inputs, results and what is kept for the derivative.
void check_one_pass(const char* name, const Tensor& result, std::int64_t expected) {
  CAPTURE(name);
  const Explanation plan = ad::explain(result);
  CAPTURE(plan.text);
  CHECK(plan.steps == 1);
  CHECK(static_cast<double>(bytes(plan)) <= 1.1 * static_cast<double>(expected));
  CHECK(static_cast<double>(bytes(plan)) >= 0.9 * static_cast<double>(expected));
  CHECK_FALSE(result.is_computed());
}

}  // namespace

TEST_CASE("nothing is computed, and the plan says what would be") {
  const Tensor x = computed({8, 16}), y = computed({16});
  const Tensor result = ad::tanh(x * y + 2);
  const Explanation plan = ad::explain(result);
  CHECK_FALSE(result.is_computed());
  CHECK(plan.steps == 1);
  CHECK(plan.operations == 3);
  CHECK(plan.bytes_read == 4 * (8 * 16 + 16 + 1));
  CHECK(plan.bytes_written == 4 * 8 * 16);
  CHECK(plan.flops == 3 * 8 * 16);
  CAPTURE(plan.text);
  CHECK(has(plan,
            "1 step for 3 operations: reads 580 B, writes 512 B, 384 flop\n"
            "\n"
            "in0 = float32 (8, 16)\n"
            "in1 = float32 (16,)\n"
            "\n"
            "step 1: program of 3 instructions on 128 elements, 128 at a time, in "));
  CHECK(has(plan, "  reads 580 B, writes 512 B, 384 flop\n"));
  CHECK(has(plan,
            "  %0 = mul(in0, in1)  float32 (8, 16)  buffer 1\n"
            "  %1 = add(%0, 2)     float32 (8, 16)  buffer 2\n"
            "  %2 = tanh(%1)       float32 (8, 16)  output, over in0 if free\n"));
  CHECK(!has(plan, "threads"));
  std::ostringstream out;
  out << plan;
  CHECK(out.str() == plan.text);
  CHECK(ad::allclose(result, ad::tanh(x * y + 2)));
}

TEST_CASE("work for several threads is worth their coming") {
  const Tensor x = ad::randn({4096}), many = ad::randn({4096, 16});
  ad::eval(x, many);
  CHECK(!has(ad::explain((x + 1) * 2), "threads"));
  CHECK(has(ad::explain(ad::sigmoid(x) * ad::tanh(x) + ad::exp(ad::sin(x))), ", by up to 3 threads\n"));
  CHECK(has(ad::explain((many + 1) * 2), ", by up to 3 threads\n"));
}

TEST_CASE("composites are one step that reads its inputs and writes its results") {
  const Tensor x = computed({64, 1024}), weight = computed({1024}), bias = computed({1024});
  const std::int64_t n = 4 * 64 * 1024;
  check_one_pass("softmax", ad::softmax(x, -1), 2 * n);
  check_one_pass("log_softmax", ad::log_softmax(x, -1), 2 * n);
  check_one_pass("layer_norm", ad::layer_norm(x, {1024}, weight, bias), 2 * n);
  check_one_pass("gelu", ad::gelu(x), 2 * n);
  // What is written in the call itself would be held until it returns.
  const auto tempered = [](const Tensor& scores) {
    return ad::softmax(ad::where(scores > 0, scores / 0.7, -INFINITY), -1);
  };
  const Tensor own = tempered(x);
  check_one_pass("of a user", own, 2 * n);
}

namespace {

/// All steps together: distinct inputs, and results that somebody holds.
void check_bytes(const char* name, const Explanation& plan, std::int64_t expected) {
  CAPTURE(name);
  CAPTURE(plan.text);
  CHECK(static_cast<double>(bytes(plan)) <= 1.1 * static_cast<double>(expected));
  CHECK(static_cast<double>(bytes(plan)) >= 0.9 * static_cast<double>(expected));
}

}  // namespace

TEST_CASE("composites and their gradients are about one pass over memory") {
  const std::int64_t rows = 512, length = 1024, n = 4 * rows * length;
  const Tensor values = computed({rows, length}), g = computed({rows, length});
  const auto both = [&](const char* name, const std::function<Tensor(const Tensor&)>& f) {
    Tensor x = values.detach().requires_grad_();
    const Tensor result = f(x);
    result.backward(g);
    check_bytes(name, ad::explain(result, x.grad()), 4 * n);
  };
  both("softmax", [](const Tensor& x) { return ad::softmax(x, -1); });
  both("log_softmax", [](const Tensor& x) { return ad::log_softmax(x, -1); });
  both("gelu", [](const Tensor& x) { return ad::gelu(x); });
  both("of a user", [](const Tensor& x) { return ad::softmax(ad::where(x > 0, x / 0.7, -INFINITY), -1); });
  both("dropout", [](const Tensor& x) { return ad::dropout(x, 0.3); });
  {
    Tensor x = values.detach().requires_grad_(), weight = computed({length}), bias = computed({length});
    weight.requires_grad_();
    bias.requires_grad_();
    const Tensor result = ad::layer_norm(x, {length}, weight, bias);
    result.backward(g);
    check_bytes("layer_norm", ad::explain(result, x.grad(), weight.grad(), bias.grad()), 4 * n);
  }
  {
    Tensor x = values.detach().requires_grad_(), weight = computed({length});
    weight.requires_grad_();
    const Tensor result = ad::rms_norm(x, {length}, weight);
    result.backward(g);
    check_bytes("rms_norm", ad::explain(result, x.grad(), weight.grad()), 4 * n);
    check_bytes("rms_norm forward", ad::explain(ad::rms_norm(values, {length}, weight.detach())), 2 * n);
  }
  check_bytes("dropout forward", ad::explain(ad::dropout(values, 0.3)), 2 * n);
  {
    const Tensor targets = ad::randint(0, length, {rows});
    ad::eval(targets);
    check_bytes("cross_entropy forward", ad::explain(ad::nn::cross_entropy(values, targets)), n);
    Tensor x = values.detach().requires_grad_();
    const Tensor loss = ad::nn::cross_entropy(x, targets);
    loss.backward();
    check_bytes("cross_entropy", ad::explain(loss, x.grad()), 2 * n);
  }
  {
    // An update of Adam: what it reads is the parameter, the gradient and two moments, what it writes all but one.
    const auto one = [](double value) { return ad::full({}, value, ad::float32); };
    const Tensor m = computed({rows, length}), v = ad::abs(computed({rows, length}));
    ad::eval(v);
    const Tensor next_m = one(0.9) * m + one(0.1) * g, next_v = one(0.999) * v + one(0.001) * ad::square(g);
    const Tensor next = values - one(1e-3) * next_m / (ad::sqrt(next_v) * one(1.1) + one(1e-8));
    check_bytes("Adam", ad::explain(next, next_m, next_v), 7 * n);
  }
}

TEST_CASE("batch norm's statistics are one pass over the input, its gradient two") {
  const std::int64_t channels = 32, n = 4 * 64 * channels * 24 * 24;
  for (const bool channels_last : {false, true}) {
    const auto images = [&] {
      const Tensor x =
          channels_last ? ad::randn({64, 24, 24, channels}).permute({0, 3, 1, 2}) : ad::randn({64, channels, 24, 24});
      ad::eval(x);
      return x;
    };
    const Tensor values = images(), g = images(), mean = ad::zeros({channels}).requires_grad_(false),
                 variance = ad::ones({channels}).requires_grad_(false);
    const auto norm = [&](const Tensor& x, const Tensor& weight, const Tensor& bias) {
      return ad::batch_norm(x, mean, variance, weight, bias, true);
    };
    norm(values, {}, {});  // whose result nobody holds
    check_bytes("statistics", ad::explain(mean, variance), n);
    ad::eval(mean, variance);
    const Tensor weight = computed({channels}).requires_grad_(), bias = computed({channels}).requires_grad_();
    {
      // The result can be had only when the statistics are complete, so the input is read once more.
      const ad::NoGradGuard no_grad;
      const Tensor result = norm(values, weight, bias);
      check_bytes("forward", ad::explain(result, mean, variance), 3 * n);
      ad::eval(result, mean, variance);
    }
    Tensor x = values.detach().requires_grad_();
    const Tensor result = norm(x, weight, bias);
    ad::eval(result, mean, variance);
    result.backward(g);
    check_bytes("gradient", ad::explain(x.grad(), weight.grad(), bias.grad()), 5 * n);
  }
}

TEST_CASE("without fusion each operation is a step") {
  const Tensor x = computed({64, 1024});
  ad::engine::Options options;
  options.fusion = false;
  const ad::engine::OptionsGuard guard(options);
  const Explanation plan = ad::explain(ad::softmax(x, -1));
  CHECK(plan.steps == 6);
  CHECK(bytes(plan) > 3 * 2 * 4 * 64 * 1024);
}

TEST_CASE("library calls, their sizes, and views") {
  const Tensor x = computed({64, 784}), w = computed({256, 784});
  Explanation plan = ad::explain(ad::matmul(x, w.t()));
  CHECK(plan.steps == 1);
  CHECK(plan.operations == 2);
  CHECK(plan.flops == 2 * 64 * 256 * 784);
  CHECK(plan.bytes_read == 4 * (64 * 784 + 256 * 784));
  CHECK(plan.bytes_written == 4 * 64 * 256);
  CHECK(has(plan, "step 1: matrix product by oneDNN, m = 64, n = 256, k = 784"));
  CHECK(has(plan, "%0 = permute(in0)  float32 (784, 256) strides (1, 784)"));
  plan = ad::explain(ad::matmul(computed({3, 400, 3}, ad::float64), computed({3, 3, 300}, ad::float64)));
  CHECK(has(plan, "matrix product by CBLAS, 3 times m = 400, n = 300, k = 3"));
  CHECK(plan.flops == 2 * 3 * 400 * 300 * 3);
  CHECK(has(ad::explain(ad::matmul(computed({4, 4}), computed({4, 4}))), "by own kernel"));
  plan = ad::explain(ad::conv2d(computed({2, 3, 8, 8}), computed({5, 3, 3, 3})));
  CHECK(has(plan, "convolution by oneDNN, 2 images of 8 x 8, 3 to 5 channels, kernel 3 x 3"));
  CHECK(has(plan, "float32 (2, 5, 6, 6) strides (180, 1, 30, 5)"));
  CHECK(plan.flops == 2 * 2 * 5 * 6 * 6 * 3 * 3 * 3);
}

TEST_CASE("what is read twice, repeated, or gathered counts as what lies in memory") {
  const Tensor x = computed({32, 32}), row = computed({1, 32});
  CHECK(ad::explain(x * x.t() + row.expand({32, 32})).bytes_read == 4 * (32 * 32 + 32));
  CHECK(ad::explain(x + x.detach()).bytes_read == 4 * 32 * 32);
  const Tensor table = computed({1000, 8}), index = ad::tensor({3, 5});
  const Explanation plan = ad::explain(ad::index_select(table, 0, index));
  CAPTURE(plan.text);
  CHECK(plan.bytes_read < 1000);
}

TEST_CASE("held values and cells that the same work feeds are part of the plan") {
  Tensor w = computed({16}).requires_grad_();
  const Tensor a = ad::exp(w * 2), b = ad::sin(a);
  Tensor loss = ad::sum(a * 3);
  const auto operations = [&] { return ad::explain(loss).operations; };
  CHECK(operations() == 5);  // b as well
  loss.backward();
  CHECK(operations() > 5);
  const Explanation plan = ad::explain(loss);
  ad::eval(loss);
  CHECK(b.is_computed());
  CHECK(w.grad().is_computed());
  CHECK(has(plan, "output"));
  CHECK(has(ad::explain(loss, b), "nothing to compute\noutput 0 is computed already\noutput 1 is computed already\n"));
  CHECK(ad::explain(loss).steps == 0);
}

TEST_CASE("a look after backward() writes no more to memory than the step itself does") {
  const Tensor x = computed({64, 256});
  const auto loss_and_gradient = [&] {
    Tensor w = x.detach().requires_grad_();
    Tensor loss = ad::mean(ad::gelu(ad::tanh(w)));
    loss.backward();
    return std::make_pair(loss, w);
  };
  const auto [loss, w] = loss_and_gradient();
  const Tensor gradient = w.grad();
  CHECK(ad::explain(loss).bytes_written == ad::explain(loss, gradient).bytes_written);
  CHECK(ad::explain(loss).bytes_written < 5 * 4 * 64 * 256);
}

TEST_CASE("new values of leaves come last") {
  Tensor w = computed({8}).requires_grad_();
  ad::sum(w * w).backward();
  ad::eval(w.grad());
  {
    const ad::NoGradGuard guard;
    w.sub_(w.grad() * 0.1);
  }
  const Explanation plan = ad::explain(w);
  CAPTURE(plan.text);
  CHECK(plan.steps == 1);
  CHECK(has(plan, "new values of leaves\n"));
  CHECK(has(plan, "leaf("));
}

TEST_CASE("failed and undefined tensors") {
  const Tensor bad = ad::gather(computed({3}), 0, ad::tensor({7}));
  CHECK_THROWS_AS(ad::eval(bad), ad::ValueError);
  const Tensor sum = ad::tanh(bad + 1);
  CHECK(has(ad::explain(bad), "output 0 has failed"));
  CHECK(has(ad::explain(sum), "whose computation has failed"));
  CHECK_THROWS_AS(ad::eval(sum), ad::ValueError);
  CHECK(message_of([] { ad::explain(Tensor()); }).find("explain") != std::string::npos);
}

TEST_CASE("memory is as before") {
  const Tensor x = computed({512, 512});
  const Tensor y = ad::slice(ad::tanh(ad::matmul(x, x)), 0, 3, 5);
  ad::memory::reset_peak();
  const ad::memory::Stats before = ad::memory::stats();
  ad::explain(y);
  CHECK(ad::memory::stats().live == before.live);
  CHECK(ad::memory::stats().peak == before.peak);
}

// The layouts that explain() tells follow from shapes and operations; each operation of the table has to keep to them.
TEST_CASE("values lie as explain() expects") {
  int checked = 0;
  const auto check = [&](const ad::table::Row& row, const ad::table::Case& sample, ad::Dtype dtype) {
    const auto arrays = ad::table::draw(sample.inputs, 5);
    std::vector<Tensor> inputs;
    for (std::size_t i = 0; i < arrays.size(); ++i)
      inputs.push_back(ad::table::place(arrays[i], sample.inputs[i].layout, dtype));
    const std::vector<Tensor> results = sample.call(inputs);
    // What is pending, each after its inputs.
    std::vector<Node*> plan;
    std::set<Node*> seen;
    const std::function<void(Node*)> visit = [&](Node* node) {
      if (node->state() != ad::detail::State::pending || !seen.insert(node).second) return;
      for (int i = 0; i < node->input_count(); ++i) visit(node->input(i));
      plan.push_back(node);
    };
    std::vector<Tensor> held;
    for (const Tensor& result : results) visit(Access::node(result));
    for (Node* node : plan) held.push_back(Access::share(node));
    std::vector<ad::Strides> expected;
    {
      const ad::detail::Layouts layouts(plan);
      for (const Node* node : plan) expected.push_back(node->value.strides);
    }
    ad::eval(results);
    for (std::size_t i = 0; i < plan.size(); ++i) {
      const Node& node = *plan[i];
      if (ad::numel(node.shape) <= 1) continue;
      ++checked;
      if (ad::detail::same_places(node.shape, expected[i], node.value.strides)) continue;
      CAPTURE(row.name);
      CAPTURE(sample.label);
      CAPTURE(node.operation->name);
      CAPTURE(node.shape);
      CAPTURE(expected[i]);
      CHECK(node.value.strides == expected[i]);
    }
  };
  for (const ad::table::Row& row : ad::table::rows())
    for (const ad::table::Case& sample : row.cases) check(row, sample, ad::float64);
  CHECK(checked > 1000);
}

TEST_CASE("derivatives do not compute for all elements what they can for each row, nor the same thing twice") {
  const Tensor x = ad::randn({8, 100}).requires_grad_(), column = ad::randn({8, 1}).requires_grad_();
  ad::eval(x, column);
  const auto flops = [](const Tensor& loss, const Tensor& leaf) {
    const Tensor gradient = ad::autograd::grad({loss}, {leaf})[0];
    ad::eval(loss);
    return ad::explain(gradient).flops;
  };
  // What is summed over each row is 3 times the cotangent, not -3 times.
  CHECK(flops(ad::sum((x - column) * 3), column) <= 2 * 8 * 100 + 8);
  // 2 g x, with one product for all elements.
  const Tensor scale = ad::sum(ad::square(x), -1, true);
  CHECK(flops(ad::sum(scale * scale), x) <= 8 * 100 + 8 * 8);
  CHECK(flops(ad::sum(x * x), x) <= 8 * 100 + 4);
}
