// What is computed together: the same bits as one by one, and no tensor for what stays inside.
#include "core/thread_state.hpp"
#include "engine/fuse.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace ad = adjoint;
using ad::Tensor;
using ad::detail::Access;
using ad::detail::Groups;
using ad::detail::Node;
using ad::detail::Program;
using ad::detail::Steps;
using ad::detail::ThreadState;

namespace {

template <class T>
bool same_elements(const Tensor& a, const Tensor& b) {
  const std::vector<T> x = a.to_vector<T>(), y = b.to_vector<T>();
  for (std::size_t i = 0; i < x.size(); ++i)  // NaN may differ in their sign
    if (std::memcmp(&x[i], &y[i], sizeof(T)) != 0 && !(x[i] != x[i] && y[i] != y[i])) return false;
  return true;
}
bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  switch (a.dtype()) {
    case ad::Dtype::float32:
      return same_elements<float>(a, b);
    case ad::Dtype::float64:
      return same_elements<double>(a, b);
    case ad::Dtype::int64:
      return same_elements<std::int64_t>(a, b);
    default:
      return ad::equal(a, b);
  }
}

using Function = std::function<std::vector<Tensor>(const Tensor&)>;

/// The results of a function of x, and x's gradient, computed together and one by one, with one thread and with more.
void check_same(const std::string& name, const Tensor& x, const Function& f) {
  CAPTURE(name);
  CAPTURE(x.shape());
  const auto results_of = [&](const Tensor& values, bool look = false) {
    ad::manual_seed(7);
    Tensor leaf = values.detach();
    const bool differentiable = ad::is_floating(x.dtype());
    if (differentiable) leaf.requires_grad_();
    std::vector<Tensor> all = f(leaf);
    Tensor sum = ad::zeros({}, ad::float64);
    for (const Tensor& result : all)
      if (result.requires_grad()) sum = sum + ad::sum(result * result).to(ad::float64);
    if (look) ad::eval(sum);
    if (differentiable && sum.requires_grad()) {
      sum.backward();
      all.push_back(leaf.grad());
    }
    for (Tensor& result : all) result = result.detach();
    ad::eval(all);
    return all;
  };
  const auto results = [&] { return results_of(x); };
  // Other values, in the same order in memory where that is easily had.
  const Tensor others = x.dim() > 0 ? ad::cat({ad::slice(x, 0, 1), ad::slice(x, 0, 0, 1)}, 0) : x;
  ad::eval(x, others);
  ad::set_num_threads(1);
  const std::vector<Tensor> together = results();
  std::vector<Tensor> alone, others_alone;
  {
    const ad::engine::OptionsGuard one_by_one({false, true, true});
    alone = results();
    others_alone = results_of(others);
  }
  std::vector<std::vector<Tensor>> threaded;
  for (const int threads : {2, 3, 4}) {
    ad::set_num_threads(threads);
    threaded.push_back(results());
  }
  ad::set_num_threads(1);
  // Whatever may be computed again is, in plans that are made and in such that are kept.
  std::vector<std::vector<Tensor>> recomputed;
  std::int64_t& fewest = ThreadState::get().fewest_to_recompute;
  const std::int64_t fewest_by_default = std::exchange(fewest, 1);
  for (const bool look : {false, false, true, true}) recomputed.push_back(results_of(x, look));
  fewest = fewest_by_default;
  const std::uint64_t replays = ThreadState::get().replays;
  const std::vector<Tensor> replayed = results_of(others);
  CHECK(ThreadState::get().replays > replays);
  REQUIRE(together.size() == alone.size());
  for (std::size_t i = 0; i < together.size(); ++i) {
    CAPTURE(i);
    CHECK(same_bits(together[i], alone[i]));
    for (const std::vector<Tensor>& results_of_threads : threaded) CHECK(same_bits(together[i], results_of_threads[i]));
    for (const std::vector<Tensor>& again : recomputed) CHECK(same_bits(again[i], alone[i]));
    CHECK(same_bits(replayed[i], others_alone[i]));
  }
}

std::vector<Tensor> samples() {
  std::vector<Tensor> result;
  for (const ad::Shape& shape :
       {ad::Shape{}, ad::Shape{1}, ad::Shape{7}, ad::Shape{4, 4}, ad::Shape{3, 1}, ad::Shape{1, 5}, ad::Shape{33, 65},
        ad::Shape{3, 4100}, ad::Shape{513, 3}, ad::Shape{2, 3, 4, 5}, ad::Shape{2, 1, 1030}, ad::Shape{300, 300},
        ad::Shape{2, 70000}})
    result.push_back(ad::randn(shape));
  // What lies before and after the channels is reduced.
  for (const ad::Shape& shape :
       {ad::Shape{3, 5, 4, 6}, ad::Shape{70, 4, 9, 7}, ad::Shape{10, 6, 12, 13}, ad::Shape{2, 4, 2, 600}})
    result.push_back(ad::randn(shape));
  result.push_back(ad::randn({65, 33}).t());
  result.push_back(ad::randn({2, 4, 5, 3}).permute({0, 3, 1, 2}));
  for (const ad::Shape& shape : {ad::Shape{3, 14, 15, 16}, ad::Shape{2, 1, 90, 5}, ad::Shape{2, 3, 2, 1100}})
    result.push_back(ad::randn(shape).permute({0, 3, 1, 2}));
  result.push_back(ad::randn({5, 4, 6, 7}).permute({1, 3, 2, 0}));
  result.push_back(ad::flip(ad::randn({40, 30}), {0, 1}));
  result.push_back(ad::randn({40, 1}).expand({40, 30}));
  result.push_back(ad::randn({9, 40}, ad::float64));
  ad::eval(result);
  return result;
}

/// The nodes that these need, each after its inputs; marked as planned.
std::vector<Node*> plan_of(const std::vector<Tensor>& roots) {
  std::vector<Node*> plan;
  const std::function<void(Node*)> visit = [&](Node* node) {
    if (node->is_computed() || node->schedule != ad::detail::Schedule::none) return;
    node->schedule = ad::detail::Schedule::planned;
    for (int i = 0; i < node->input_count(); ++i) visit(node->input(i));
    plan.push_back(node);
  };
  for (const Tensor& root : roots) visit(Access::node(root));
  return plan;
}

/// The numbers of nodes of the steps in which these would be computed.
std::vector<int> step_sizes(const std::vector<Tensor>& roots) {
  const std::vector<Node*> plan = plan_of(roots);
  Steps steps;
  steps.build(plan, Steps::kNone);
  for (Node* node : plan) node->schedule = ad::detail::Schedule::none;
  std::vector<int> sizes;
  for (int i = 0; i < steps.size(); ++i)
    if (steps.count(i) > 0) sizes.push_back(steps.count(i));
  return sizes;
}

/// Computes these step by step, as an evaluation does: groups by the programs that are kept.
void evaluate_by(std::vector<Groups::Kept>& kept, const std::vector<Tensor>& roots) {
  const std::vector<Node*> plan = plan_of(roots);
  Steps steps;
  steps.build(plan, Steps::kNone);
  Groups groups;
  kept.resize(static_cast<std::size_t>(steps.size()));
  for (int step = 0; step < steps.size(); ++step) {
    Node* const* nodes = steps.begin(step);
    const int count = steps.count(step);
    const bool together = count > 1 && groups.compute(nodes, count, {}, &kept[static_cast<std::size_t>(step)]);
    for (int i = 0; i < count; ++i) {
      if (!together) nodes[i]->operation->execute(*nodes[i]);
      nodes[i]->schedule = ad::detail::Schedule::none;
      nodes[i]->set_computed();
    }
  }
}

std::int64_t peak_of(const std::function<void()>& f) {
  ad::memory::reset_peak();
  const std::int64_t before = ad::memory::stats().live;
  f();
  return ad::memory::stats().peak - before;
}

}  // namespace

TEST_CASE("the same bits as one by one") {
  const std::vector<std::pair<std::string, Function>> functions = {
      {"chain",
       [](const Tensor& x) { return std::vector<Tensor>{ad::tanh(x * 2 + 1) * ad::exp(-x) - ad::sigmoid(x)}; }},
      {"several results",
       [](const Tensor& x) {
         const Tensor y = ad::exp(x), z = y * 2;
         return std::vector<Tensor>{y, z, z + y, ad::sqrt(ad::abs(z))};
       }},
      {"casts and comparisons",
       [](const Tensor& x) {
         const Tensor positive = x > 0;
         return std::vector<Tensor>{positive, ad::where(positive, x, x.to(ad::float64).to(x.dtype()) * 0.5),
                                    (x * 10).to(ad::int64), (x * 10).to(ad::uint8) == 3};
       }},
      {"random numbers",
       [](const Tensor& x) {
         return std::vector<Tensor>{ad::dropout(x, 0.3), ad::rand(x.shape()) + 1, ad::randn(x.shape()) * 2};
       }},
      {"softmax", [](const Tensor& x) { return std::vector<Tensor>{ad::softmax(x, -1)}; }},
      {"softmax, tempered and masked",
       [](const Tensor& x) { return std::vector<Tensor>{ad::softmax(ad::where(x < 1.5, x / 0.7, -1e9), -1)}; }},
      {"log_softmax", [](const Tensor& x) { return std::vector<Tensor>{ad::log_softmax(x, -1) * 3}; }},
      {"over the first dim", [](const Tensor& x) { return std::vector<Tensor>{ad::softmax(x, 0)}; }},
      {"normalised over all",
       [](const Tensor& x) {
         const Tensor d = x - ad::mean(x);
         return std::vector<Tensor>{d * ad::rsqrt(ad::mean(ad::square(d)) + 1e-5)};
       }},
      {"rows and what is made of them",
       [](const Tensor& x) {
         if (x.dim() == 0) return std::vector<Tensor>{x * 1};
         const Tensor sums = ad::sum(x, -1, true), most = ad::amax(x * 2, -1), least = ad::amin(x, -1, true);
         const Tensor scaled = (x - least) / (most.unsqueeze(-1) - least + 1);
         return std::vector<Tensor>{sums * 2, most, scaled, ad::argmax(scaled * 3, -1), ad::sum(scaled, -1) + most};
       }},
      // Without the reduced dim the sums broadcast along another one.
      {"sums across",
       [](const Tensor& x) {
         if (x.dim() < 2 || x.size(-1) != x.size(-2)) return std::vector<Tensor>{x * 1};
         return std::vector<Tensor>{ad::exp(x) + ad::sum(ad::exp(x), -1), x * ad::sum(x, -1, true)};
       }},
      {"columns",
       [](const Tensor& x) {
         if (x.dim() < 2) return std::vector<Tensor>{x * 1};
         const Tensor y = ad::tanh(x), sums = ad::sum(y * x, 0);
         return std::vector<Tensor>{sums,
                                    ad::amax(y * 3, 0, true),
                                    y,
                                    ad::sum(x, 0, true) * 2,
                                    y - sums,
                                    ad::sum(y, -1),
                                    ad::any(y > 0.9, 0),
                                    ad::sum((x * 10).to(ad::int64), 0)};
       }},
      // All dims but that of channels, which is the last in memory in some of the samples.
      {"channels",
       [](const Tensor& x) {
         if (x.dim() != 4) return std::vector<Tensor>{x * 1};
         const Tensor y = ad::tanh(x), sums = ad::sum(y * x, {0, 2, 3}, true), mean = ad::mean(x, {0, 2, 3}, true);
         return std::vector<Tensor>{sums,
                                    ad::amax(y * 3, {0, 2, 3}),
                                    y * (sums + 1) + mean,
                                    ad::sum(ad::square(x - mean), {0, 2, 3}),
                                    ad::sum(x, {2, 3}) * 2,
                                    ad::sum(y * 2, 1, true) + x,
                                    x + ad::amax(x, 3, true),
                                    ad::any(y > 0.9, {0, 2, 3}, true),
                                    ad::sum((x * 10).to(ad::int64), {0, 2, 3})};
       }},
      {"batch_norm and its parameters",
       [](const Tensor& x) {
         if (x.dim() < 2 || x.numel() == x.size(1) || !x.requires_grad()) return std::vector<Tensor>{x * 1};
         const ad::Shape channels{x.size(1)};
         const Tensor weight = (ad::ones(channels, x.dtype()) * 0.7).detach().requires_grad_(),
                      bias = ad::zeros(channels, x.dtype()).requires_grad_();
         const Tensor y = ad::relu(ad::batch_norm(x * 2 + 1, {}, {}, weight, bias, true, 0.1, 1e-5));
         ad::sum(y * ad::sin(y.detach() * 3)).backward();
         return std::vector<Tensor>{y.detach(), weight.grad(), bias.grad()};
       }},
      {"layer_norm and its parameters",
       [](const Tensor& x) {
         if (x.dim() < 2 || x.size(-1) == 1 || !x.requires_grad()) return std::vector<Tensor>{x * 1};
         const ad::Shape last{x.size(-1)};
         const Tensor weight = (ad::ones(last, x.dtype()) * 0.7).detach().requires_grad_(),
                      bias = ad::zeros(last, x.dtype()).requires_grad_();
         const Tensor y = ad::layer_norm(x, last, weight, bias);
         ad::sum(y * ad::sin(y.detach() * 3)).backward();
         return std::vector<Tensor>{y.detach(), weight.grad(), bias.grad()};
       }},
      {"elements at indices",
       [](const Tensor& x) {
         if (x.dim() == 0) return std::vector<Tensor>{x * 1};
         const Tensor index = ad::argmax(x, -1, true), y = ad::tanh(x) * 2;
         const Tensor chosen = ad::gather(y, -1, index);
         return std::vector<Tensor>{chosen.squeeze(-1) * 3, y - chosen,
                                    ad::scatter_add(ad::zeros(x.shape(), x.dtype()), -1, index, chosen) * y,
                                    ad::scatter_add(y * 3, -1, index, chosen * 0.5)};
       }},
      {"cross_entropy",
       [](const Tensor& x) {
         if (x.dim() != 2) return std::vector<Tensor>{x * 1};
         const Tensor labels = ad::randint(0, x.size(1), {x.size(0)});
         return std::vector<Tensor>{ad::nn::cross_entropy(x, labels)};
       }},
      {"more than a group can hold",
       [](const Tensor& x) {
         Tensor y = x;
         for (int i = 0; i < 60; ++i) y = ad::sin(y) + x * (0.01 * i);
         return std::vector<Tensor>{y};
       }},
      {"many inputs", [](const Tensor& x) {
         std::vector<Tensor> parts;
         for (int i = 0; i < 80; ++i) parts.push_back(ad::full(x.shape(), 0.5 + i, x.dtype()) * 1);
         ad::eval(parts);
         Tensor y = x;
         for (const Tensor& part : parts) y = y + part;
         return std::vector<Tensor>{y};
       }}};
  for (const Tensor& x : samples())
    for (const auto& [name, f] : functions) check_same(name, x, f);
}

TEST_CASE("programs made at random") {
  std::mt19937 random(5);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int program = 0; program < 60; ++program) {
    const unsigned seed = static_cast<unsigned>(random());
    const ad::Shape shape{program % 4 == 1 ? 1 + below(500) : 1 + below(6),
                          program % 4 == 0 ? 1 + below(5000) : 1 + below(40)};
    check_same("program " + std::to_string(program), ad::randn(shape), [&](const Tensor& x) {
      std::mt19937 choice(seed);
      const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(choice() % n); };
      std::vector<Tensor> values = {x, ad::ones({x.size(-1)}) * 0.3f, ad::rand({x.size(0), 1})};
      const Tensor index = ad::randint(0, x.size(-1), {x.size(0), 1}), ones = ad::ones({x.size(0), 1});
      ad::eval(index);
      for (int i = 0; i < 40; ++i) {
        const Tensor &a = values[pick(values.size())], &b = values[pick(values.size())];
        switch (pick(12)) {
          case 0:
            values.push_back(a + b);
            break;
          case 1:
            values.push_back(a * b * 0.5f);
            break;
          case 2:
            values.push_back(ad::tanh(a));
            break;
          case 3:
            values.push_back(ad::where(a > b, a, b));
            break;
          case 4:
            values.push_back(ad::sum(a, -1, true) * 0.1f);
            break;
          case 5:
            values.push_back(a - ad::amax(a.detach(), -1, true));
            break;
          case 6:
            values.push_back(ad::sum(a, 0, true) * 0.1f);
            break;
          case 7:
            values.push_back(ad::reshape(ad::mean(a * ad::ones(x.shape()), -1), {x.size(0), 1}));
            break;
          case 8:
            values.push_back(ad::gather(a * ad::ones(x.shape()), -1, index));
            break;
          case 9:
            values.push_back(ad::scatter_add(a * ad::ones(x.shape()), -1, index, b.sum(-1, true) * ones));
            break;
          case 10:
            values.push_back(ad::sum(a * 0.01f + b, 0));
            break;
          default:
            values.push_back(ad::broadcast_to(a * 1.5f, ad::broadcast_shapes(a.shape(), x.shape())));
            break;
        }
      }
      // Some of them are held, others stay inside.
      std::vector<Tensor> results = {values.back()};
      for (const Tensor& value : values)
        if (pick(4) == 0) results.push_back(value * 1);
      return results;
    });
  }
}

// Activations that lie channels-last, and reductions of all but their channels.
TEST_CASE("programs made at random, of channels") {
  std::mt19937 random(6);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int program = 0; program < 40; ++program) {
    const unsigned seed = static_cast<unsigned>(random());
    const ad::Shape shape{2 + below(3), 1 + below(program % 4 == 0 ? 30 : 5), 1 + below(9),
                          program % 5 == 0 ? 500 + below(1000) : 3 + below(40)};
    const Tensor values_of_x = ad::randn(shape).permute({0, 3, 1, 2}), other = ad::randn(values_of_x.shape());
    ad::eval(values_of_x, other);
    check_same("program " + std::to_string(program), values_of_x, [&](const Tensor& x) {
      std::mt19937 choice(seed);
      const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(choice() % n); };
      const Tensor per_channel = ad::rand({1, x.size(1), 1, 1});
      std::vector<Tensor> values = {x, per_channel};
      if (program % 3 == 0) values.push_back(other);  // it lies row-major
      for (int i = 0; i < 25; ++i) {
        const Tensor &a = values[pick(values.size())], &b = values[pick(values.size())];
        switch (pick(9)) {
          case 0:
            values.push_back(a + b);
            break;
          case 1:
            values.push_back(a * b * 0.5f);
            break;
          case 2:
            values.push_back(ad::tanh(a) + x);
            break;
          case 3:
            values.push_back(ad::where(a > b, a, b));
            break;
          case 4:
            values.push_back(ad::sum(a * 0.01f, {0, 2, 3}, true));
            break;
          case 5:
            values.push_back(a - ad::amax(a.detach(), {0, 2, 3}, true));
            break;
          case 6:
            values.push_back(ad::reshape(ad::mean(a * x, {0, 2, 3}), per_channel.shape()));
            break;
          case 7:
            values.push_back(ad::sum(a, 1, true) * 0.1f);
            break;
          default:
            values.push_back(ad::broadcast_to(a * 1.5f, ad::broadcast_shapes(a.shape(), x.shape())));
            break;
        }
      }
      std::vector<Tensor> results = {values.back()};
      for (const Tensor& value : values)
        if (pick(4) == 0) results.push_back(value * 1);
      return results;
    });
  }
}

TEST_CASE("a program serves every group of its structure") {
  const auto function = [](const Tensor& x, float scale, bool moved) {
    const Tensor y =
        moved ? ad::broadcast_to(ad::reshape(x, {1, x.numel()}), {3, x.numel()}) : x.expand({3, x.size(-1)});
    const Tensor rows = ad::dropout(ad::softmax(y * scale, -1), 0.5), sums = ad::sum(rows * y, -1);
    return std::vector<Tensor>{rows * 2, sums.unsqueeze(-1), ad::tanh(ad::exp(y) + sums.unsqueeze(-1))};
  };
  for (const std::int64_t n : {1, 8, 100, 3000})
    for (const bool moved : {false, true}) {
      std::vector<Groups::Kept> kept;
      for (int time = 0; time < 3; ++time) {
        Tensor x = ad::randn({n});
        ad::eval(x);
        const float scale = 1 + 0.3f * static_cast<float>(time);
        ad::manual_seed(time);
        const std::vector<Tensor> together = function(x, scale, moved);
        std::vector<const Program*> before;
        for (const Groups::Kept& one : kept) before.push_back(one.program.get());
        evaluate_by(kept, together);
        for (std::size_t i = 0; i < before.size(); ++i) CHECK(kept[i].program.get() == before[i]);
        ad::manual_seed(time);
        const ad::engine::OptionsGuard one_by_one({false, true, true});
        const std::vector<Tensor> alone = function(x, scale, moved);
        for (std::size_t i = 0; i < alone.size(); ++i) CHECK(same_bits(together[i], alone[i]));
      }
      // A result may take an input's memory one time, and not at another.
      kept.clear();
      for (const bool held : {false, true, false}) {
        Tensor x = ad::randn({n, 3});
        ad::eval(x);
        const std::vector<float> before = x.to_vector<float>();
        x = x + 0;
        ad::eval(x);
        const Tensor other = held ? x.detach() : Tensor();
        const Tensor y = ad::exp(std::move(x) * 2) + 1;
        evaluate_by(kept, {y});
        if (held) CHECK(other.to_vector<float>() == before);
        const ad::engine::OptionsGuard one_by_one({false, true, true});
        CHECK(same_bits(y, ad::exp(ad::tensor(before).reshape({n, 3}) * 2) + 1));
      }
      // What is one input may be two.
      kept.clear();
      for (const bool same : {true, false, true, false}) {
        const Tensor a = ad::randn({n, 3}), b = same ? a : ad::randn({n, 3});
        ad::eval(a, b);
        const Tensor y = ad::exp(a * b) + b;
        evaluate_by(kept, {y});
        const ad::engine::OptionsGuard one_by_one({false, true, true});
        CHECK(same_bits(y, ad::exp(a * b) + b));
      }
      // And one that lies in memory in another way is read in another way.
      for (const bool transposed : {true, false, true}) {
        const Tensor x = transposed ? ad::randn({3, n}).t() : ad::randn({n, 3});
        ad::eval(x);
        const Tensor y = ad::exp(x * 2) + 1;
        evaluate_by(kept, {y});
        const ad::engine::OptionsGuard one_by_one({false, true, true});
        CHECK(same_bits(y, ad::exp(x * 2) + 1));
      }
    }
}

TEST_CASE("a value for each row lies in memory as it does by itself, so that what reads it later has the same bits") {
  const Tensor x = ad::randn({70, 300}), y = ad::randn({300, 70, 5});
  ad::eval(x, y);
  const auto sum_of_rows = [&](bool looked_at) {
    const Tensor rows = ad::exp(x.t().unsqueeze(-1));
    if (looked_at) ad::eval(rows);
    const Tensor product = y * rows, sum = ad::sum(rows, 0);
    ad::eval(product, sum);
    return sum;
  };
  CHECK(same_bits(sum_of_rows(false), sum_of_rows(true)));
}

TEST_CASE("composites are one step") {
  const Tensor x = ad::randn({64, 100}), weight = ad::rand({100});
  ad::eval(x, weight);
  for (const Tensor& y :
       {ad::softmax(x, -1), ad::log_softmax(x, -1), ad::layer_norm(x, {100}, weight, weight), ad::gelu(x),
        ad::softmax(ad::where(x > 0, x * 3, -1e9), -1), ad::dropout(x, 0.5), ad::rms_norm(x, {100}, weight)}) {
    const std::vector<int> sizes = step_sizes({y});
    CHECK(sizes.size() == 1);
    CHECK(sizes[0] > 1);
  }
}

TEST_CASE("a loss and its gradients are one step") {
  const Tensor x = ad::randn({64, 100}), weight = ad::rand({100}), labels = ad::arange(64), g = ad::randn({64, 100});
  ad::eval(x, weight, labels, g);
  SUBCASE("layer_norm") {
    const Tensor input = x.detach().requires_grad_(), w = weight.detach().requires_grad_(),
                 b = weight.detach().requires_grad_();
    const Tensor y = ad::layer_norm(input, {100}, w, b);
    y.backward(g);
    // Whatever is asked for first. Beside it two gradients are shown in their parameters' shape.
    for (const auto& roots : {std::vector<Tensor>{y, input.grad(), w.grad(), b.grad()},
                              std::vector<Tensor>{w.grad(), b.grad(), input.grad(), y},
                              std::vector<Tensor>{b.grad(), y, w.grad(), input.grad()}}) {
      const std::vector<int> sizes = step_sizes(roots);
      CHECK(sizes.size() == 3);
      CHECK(*std::max_element(sizes.begin(), sizes.end()) > 30);
    }
  }
  SUBCASE("cross_entropy") {
    const Tensor input = x.detach().requires_grad_();
    const Tensor loss = ad::nn::cross_entropy(input, labels);
    loss.backward();
    // Beside it the labels are made indices, logarithms are taken of all sums, and losses and weights are summed.
    const std::vector<int> sizes = step_sizes({loss, input.grad()});
    CHECK(std::count_if(sizes.begin(), sizes.end(), [](int size) { return size > 3; }) == 1);
    CHECK(*std::max_element(sizes.begin(), sizes.end()) == 13);
  }
}

TEST_CASE("small groups that feed the same step are one") {
  const Tensor x = ad::randn({32, 128}), large = ad::randn({512, 512});
  ad::eval(x, large);
  const Tensor shared = ad::exp(x), parts = ad::cat({shared * 2, shared + 1}, -1), other = ad::exp(large);
  const std::vector<int> sizes = step_sizes({parts, other});
  CHECK(sizes.size() == 3);
  CHECK(*std::max_element(sizes.begin(), sizes.end()) == 3);
}

TEST_CASE("what stays inside is no tensor") {
  constexpr std::int64_t bytes = 256 * 1024 * 4;
  const Tensor x = ad::randn({256, 1024});
  ad::eval(x);
  const auto recorded = [&] {  // here, so that nobody holds what it is made of
    return ad::log_softmax(ad::tanh(x * 2) + 1, -1);
  };
  Tensor y = recorded();
  CHECK(step_sizes({y}).size() == 1);
  // Beside the result there are buffers of blocks.
  CHECK(peak_of([&] { ad::eval(y); }) < bytes + bytes / 4);
  y = recorded();
  {
    const ad::engine::OptionsGuard one_by_one({false, true, true});
    CHECK(peak_of([&] { ad::eval(y); }) > bytes + bytes / 4);
  }
  // A result takes the memory of an input that nobody reads any more.
  Tensor z = ad::exp(x);
  ad::eval(z);
  z = ad::tanh(std::move(z) * 3) + 1;
  CHECK(peak_of([&] { ad::eval(z); }) < bytes / 4);
}

TEST_CASE("hundreds of parameters take the memory of their old values") {
  constexpr std::int64_t count = 300, bytes = count * 256 * 4;
  std::vector<Tensor> parameters;
  std::vector<Tensor> gradients;
  for (std::int64_t i = 0; i < count; ++i) {
    parameters.push_back(ad::randn({256}).requires_grad_());
    gradients.push_back(ad::randn({256}));
  }
  ad::eval(parameters);
  ad::eval(gradients);
  ad::optim::Adam optimizer(parameters);
  const auto step = [&] {
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].set_grad(gradients[i]);
    optimizer.step();
  };
  step();
  CHECK(peak_of(step) < bytes / 8);
}

TEST_CASE("new values of cells take the memory of the old ones, but only when nothing can fail any more") {
  constexpr std::int64_t bytes = 100000 * 4;
  Tensor parameter = ad::randn({100000}).requires_grad_();
  const Tensor gradient = ad::randn({100000});
  ad::eval(parameter, gradient);
  ad::optim::Adam optimizer({parameter});
  const auto step = [&] {
    parameter.set_grad(gradient);
    optimizer.step();
  };
  step();
  CHECK(peak_of(step) < bytes / 2);
  // A handle on the value keeps it.
  const Tensor before = parameter.detach();
  const std::vector<float> kept = before.to_vector<float>();
  step();
  CHECK(before.to_vector<float>() == kept);
  CHECK(parameter.to_vector<float>() != kept);
  step();
  // So does a step that fails: all cells are as they were.
  const Tensor state = parameter.detach();
  const std::vector<float> good = state.to_vector<float>();
  Tensor other = ad::zeros({100000}).requires_grad_(false);
  {
    const ad::NoGradGuard no_grad;
    parameter.sub_(gradient * 0.5f);
    other.set_(ad::gather(gradient, 0, ad::full({100000}, 200000)));
    CHECK_THROWS_AS(ad::eval(parameter, other), ad::ValueError);
  }
  CHECK(parameter.to_vector<float>() == good);
}
