#include "message_of.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace ad = adjoint;
namespace nn = ad::nn;
using ad::Tensor;

namespace {

using Names = std::vector<std::string>;

Names names_of(const nn::ModuleBase::NamedTensors& named) {
  Names names;
  for (const auto& [name, tensor] : named) names.push_back(name);
  return names;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct Block : nn::Module<Block> {
  nn::Linear up{4, 8}, down{8, 4};
  void members(nn::Members& m) { m("up", up)("down", down); }
  Tensor forward(const Tensor& x) const { return x + down(ad::gelu(up(x))); }
};

/// One of each kind of member.
struct Everything : nn::Module<Everything> {
  nn::Parameter scale = ad::ones({3});
  nn::Parameter absent;
  nn::Buffer count = ad::zeros({}, ad::int64);
  Block block;
  std::vector<nn::Linear> layers;
  std::array<nn::Parameter, 2> pair{ad::zeros({1}), ad::zeros({2})};
  std::optional<nn::Linear> some{std::in_place, 2, 2}, none;
  nn::ModuleList<nn::Linear> list;
  Everything() {
    for (int i = 0; i < 2; ++i) layers.emplace_back(4, 4);
    list.emplace_back(1, 1, false);
  }
  void members(nn::Members& m) {
    m("scale", scale)("absent", absent)("count", count)("block", block)("layers", layers);
    m("pair", pair)("some", some)("none", none)("list", list);
  }
};

class Private : public nn::Module<Private> {
 public:
  Private() = default;

 private:
  friend Module;
  void members(nn::Members& m) const { m("inner", inner_); }
  Tensor forward(const Tensor& x, double factor) const { return inner_(x) * factor; }
  nn::Linear inner_{2, 2};
};

}  // namespace

TEST_CASE("names of parameters and buffers") {
  Everything net;
  CHECK(names_of(net.named_parameters()) == Names{"scale", "block.up.weight", "block.up.bias", "block.down.weight",
                                                  "block.down.bias", "layers.0.weight", "layers.0.bias",
                                                  "layers.1.weight", "layers.1.bias", "pair.0", "pair.1", "some.weight",
                                                  "some.bias", "list.0.weight"});
  CHECK(names_of(net.named_buffers()) == Names{"count"});
  CHECK(net.buffers().size() == 1);
  CHECK(net.parameters().size() == 14);
  CHECK(net.parameter_count() == 3 + (4 * 8 + 8 + 8 * 4 + 4) + 2 * (16 + 4) + 3 + 6 + 1);
  Names children, modules;
  for (const auto& [name, module] : net.named_children()) children.push_back(name);
  for (const auto& [name, module] : net.named_modules()) modules.push_back(name);
  CHECK(children == Names{"block", "layers.0", "layers.1", "some", "list"});
  CHECK(modules == Names{"", "block", "block.up", "block.down", "layers.0", "layers.1", "some", "list", "list.0"});
}

TEST_CASE("private members, any signature, local structs, modules without members") {
  const Private net;
  const Tensor x = ad::ones({2, 2});
  CHECK(ad::allclose(net(x, 2.0), 2 * net(x, 1.0)));
  CHECK(names_of(net.named_parameters()) == Names{"inner.weight", "inner.bias"});

  struct Local : nn::Module<Local> {
    nn::Parameter w = ad::tensor({2.0f});
    void members(nn::Members& m) { m("w", w); }
    std::pair<Tensor, Tensor> forward(const Tensor& a, const Tensor& b) const { return {a * w, b * w}; }
  };
  const Local local;
  const auto [a, b] = local(ad::tensor({1.0f}), ad::tensor({3.0f}));
  CHECK(a.item<float>() == 2);
  CHECK(b.item<float>() == 6);

  struct Twice : nn::Module<Twice> {
    Tensor forward(const Tensor& input) const { return input + input; }
  };
  CHECK(ad::equal(Twice()(x), 2 * x));
  CHECK(Twice().parameters().empty());
}

TEST_CASE("a parameter is a tensor that requires grad; a buffer does not") {
  nn::Parameter p = ad::tensor({1.0f, 2.0f});
  const Tensor handle = p;
  CHECK(p.requires_grad());
  CHECK(p.is_leaf());
  ad::sum(p * p).backward();
  CHECK(handle.grad().to_vector<float>() == std::vector<float>{2, 4});

  p = ad::tensor({5.0f, 6.0f});
  CHECK(handle.to_vector<float>() == std::vector<float>{5, 6});
  CHECK(p.requires_grad());
  CHECK(p.is_leaf());

  nn::Parameter copy = p;
  copy = ad::tensor({0.0f, 0.0f});
  CHECK(handle.to_vector<float>() == std::vector<float>{5, 6});
  CHECK(copy.requires_grad());

  nn::Parameter moved = std::move(p);
  moved = ad::tensor({7.0f, 8.0f});
  CHECK(handle.to_vector<float>() == std::vector<float>{7, 8});
  CHECK_FALSE(p.defined());  // NOLINT: what a move leaves behind is part of the contract

  // A parameter made of a computed value is a leaf of its own.
  const nn::Parameter computed = handle * 2;
  CHECK(computed.is_leaf());
  CHECK(computed.requires_grad());
  const nn::Parameter of_other_cell = handle;
  CHECK_FALSE(of_other_cell.grad().defined());

  nn::Parameter frozen = ad::zeros({1});
  frozen.requires_grad_(false);
  CHECK_FALSE(nn::Parameter(std::as_const(frozen)).requires_grad());

  const nn::Buffer buffer = ad::zeros({2});
  const Tensor of_buffer = buffer;
  CHECK_FALSE(buffer.requires_grad());
  buffer.update(moved * 2);
  CHECK(of_buffer.to_vector<float>() == std::vector<float>{14, 16});
  CHECK_FALSE(of_buffer.requires_grad());

  nn::Parameter undefined;
  CHECK_FALSE(undefined.defined());
  CHECK_FALSE(nn::Parameter(std::as_const(undefined)).defined());
  undefined = handle;
  CHECK(undefined.requires_grad());
  undefined = nn::Parameter();
  CHECK_FALSE(undefined.defined());

  CHECK_THROWS_AS(nn::Parameter(ad::zeros({2}, ad::int64)), ad::AutogradError);
  CHECK_THROWS_AS(moved = ad::zeros({3}), ad::ShapeError);
  CHECK_THROWS_AS(moved = ad::zeros({2}, ad::int64), ad::DtypeError);
  CHECK(handle.to_vector<float>() == std::vector<float>{7, 8});
  moved = ad::tensor({1.0, 2.0}, ad::float64);
  CHECK(handle.to_vector<float>() == std::vector<float>{1, 2});
}

TEST_CASE("copies are independent, assignments set values, moves keep cells: an optimizer stays attached") {
  struct Net : nn::Module<Net> {
    nn::Linear a{2, 2};
    std::vector<nn::Linear> rest{nn::Linear(2, 2)};
    nn::Sequential tail{nn::Linear(2, 1), nn::Tanh()};
    void members(nn::Members& m) { m("a", a)("rest", rest)("tail", tail); }
    Tensor forward(const Tensor& x) const { return tail(rest[0](a(x))); }
  };
  static_assert(std::is_nothrow_move_constructible_v<nn::Linear>, "a std::vector that grows keeps the cells");
  const Tensor x = ad::tensor({{0.5, -1.0}}, ad::float32);
  const auto train = [&](Net& net, ad::optim::Optimizer& optimizer) {
    optimizer.zero_grad();
    ad::sum(net(x)).backward();
    optimizer.step();
  };
  Net net;
  ad::optim::SGD optimizer(net.parameters());
  optimizer.set_lr(0.1);
  const Net best = net;
  const float before = best(x).item<float>();
  CHECK(net(x).item<float>() == before);
  train(net, optimizer);
  CHECK(net(x).item<float>() < before);
  CHECK(best(x).item<float>() == before);

  const auto stays_attached = [&] {
    CHECK(net(x).item<float>() == before);
    train(net, optimizer);
    CHECK(net(x).item<float>() < before);
    const std::vector<Tensor> parameters = net.parameters();
    REQUIRE(parameters.size() == optimizer.parameters().size());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const ad::NoGradGuard no_grad;
      Tensor handle = optimizer.parameters()[i];
      handle.fill_(7);
      CHECK(ad::equal(parameters[i], ad::full_like(handle, 7)));
    }
  };
  SUBCASE("copy assignment") {
    net = best;
    stays_attached();
  }
  SUBCASE("move assignment") {
    Net other = best;
    net = std::move(other);
    stays_attached();
  }
  SUBCASE("self assignment") {
    net = best;
    Net& same = net;
    net = same;
    stays_attached();
  }
  SUBCASE("moving") {
    net = best;
    Net moved = std::move(net);
    CHECK(moved(x).item<float>() == before);
    train(moved, optimizer);
    CHECK(moved(x).item<float>() < before);
  }
  SUBCASE("into a vector that grows") {
    std::vector<Net> nets;
    nets.push_back(best);
    ad::optim::SGD of_first(nets[0].parameters());
    of_first.set_lr(0.1);
    for (int i = 0; i < 10; ++i) nets.push_back(best);
    train(nets[0], of_first);
    CHECK(nets[0](x).item<float>() < before);
    CHECK(nets[1](x).item<float>() == before);
  }
  CHECK(best(x).item<float>() == before);
}

TEST_CASE("the mode is copied, but not assigned") {
  Block net;
  net.eval();
  CHECK_FALSE(net.up.is_training());
  Block copy = net;
  CHECK_FALSE(copy.is_training());
  CHECK_FALSE(copy.up.is_training());
  copy.train();
  copy = net;
  CHECK(copy.is_training());
  CHECK(copy.up.is_training());
}

TEST_CASE("a member that was forgotten is an error at first use") {
  struct Forgets : nn::Module<Forgets> {
    nn::Linear named{2, 2};
    nn::Parameter forgotten = ad::ones({3});
    void members(nn::Members& m) { m("named", named); }
    Tensor forward(const Tensor& x) const { return named(x); }
  };
  const Forgets net;
  for (int i = 0; i < 2; ++i) {  // not only the first time
    CHECK_THROWS_AS(net.parameters(), ad::ValueError);
    CHECK_THROWS_AS(net(ad::ones({2})), ad::ValueError);
    CHECK_THROWS_AS(net.state_dict(), ad::ValueError);
    CHECK_THROWS_AS(to_string(net), ad::ValueError);
  }
  const std::string message = message_of([&] { net.parameters(); });
  CHECK(contains(message, "Forgets: a parameter of shape (3,"));
  CHECK(contains(message, "is not named in members()"));
  const Forgets copy = net;
  CHECK_THROWS_AS(copy.parameters(), ad::ValueError);

  struct ForgetsModule : nn::Module<ForgetsModule> {
    nn::Linear forgotten{2, 2};
    Tensor forward(const Tensor& x) const { return x; }
  };
  CHECK(contains(message_of([] { ForgetsModule()(ad::ones({2})); }), "ForgetsModule: a module Linear at offset"));

  struct ForgetsBuffer : nn::Module<ForgetsBuffer> {
    nn::Buffer forgotten;
  };
  CHECK(contains(message_of([] { ForgetsBuffer().buffers(); }), "a buffer, undefined, at offset"));

  struct ForgetsList : nn::Module<ForgetsList> {
    nn::ModuleList<nn::Linear> list;
  };
  CHECK_THROWS_AS(ForgetsList().parameters(), ad::ValueError);

  struct Outer : nn::Module<Outer> {  // whose child is never called by itself
    Forgets child;
    void members(nn::Members& m) { m("child", child); }
    Tensor forward(const Tensor& x) const { return child.forward(x); }
  };
  CHECK(contains(message_of([] { Outer()(ad::ones({2})); }), "Forgets: a parameter"));

  const float captured = 2;
  const nn::Sequential holds_a_function([captured](const Tensor& x) { return x * captured; });
  CHECK(holds_a_function(ad::ones({})).item<float>() == 2);
  const nn::Sequential hides_a_module([linear = nn::Linear(2, 2)](const Tensor& x) { return linear(x); });
  CHECK_THROWS_AS(hides_a_module(ad::ones({2})), ad::ValueError);

  // An object is checked when it is used, also when its base class was used before it was complete.
  struct UsedEarly : nn::Module<UsedEarly> {
    nn::Linear linear{2, 2};
    std::size_t count;
    UsedEarly() : count(parameters().size()) {}
    void members(nn::Members& m) { m("linear", linear); }
  };
  struct Later : nn::Module<Later, UsedEarly> {
    nn::Parameter forgotten = ad::ones({1});
  };
  CHECK(UsedEarly().count == 2);
  CHECK_THROWS_AS(Later().parameters(), ad::ValueError);
}

TEST_CASE("bad names") {
  struct Bad : nn::Module<Bad> {
    nn::Parameter a = ad::ones({1}), b = ad::ones({1});
    const char *name_a, *name_b;
    nn::Parameter* second;
    Bad(const char* first_name, const char* second_name, bool same = false)
        : name_a(first_name), name_b(second_name), second(same ? &a : &b) {}
    void members(nn::Members& m) { m(name_a, a)(name_b, *second); }
  };
  CHECK(Bad("a", "b").parameters().size() == 2);
  CHECK_THROWS_AS(Bad("a", "").parameters(), ad::ValueError);
  CHECK_THROWS_AS(Bad("a", "b.c").parameters(), ad::ValueError);
  CHECK(contains(message_of([] { Bad("a", "a").parameters(); }), "gives the name \"a\" twice"));
  CHECK(contains(message_of([] { Bad("a", "b", true).parameters(); }), "names \"b\" a second time"));
}

TEST_CASE("deriving from a module") {
  struct Gated : nn::Module<Gated, Block> {
    nn::Parameter gate = ad::zeros({1});
    void members(nn::Members& m) {
      Block::members(m);
      m("gate", gate);
    }
    Tensor forward(const Tensor& x) const { return gate * Block::forward(x); }
  };
  const Gated gated;
  CHECK(names_of(gated.named_parameters()) == Names{"up.weight", "up.bias", "down.weight", "down.bias", "gate"});
  CHECK(gated(ad::ones({4})).to_vector<float>() == std::vector<float>(4, 0.0f));
  // The base class's way of calling it is still there.
  CHECK(gated.Block::operator()(ad::ones({4})).shape() == ad::Shape{4});

  struct Silent : Block {
    nn::Linear extra{1, 1};
  };
  const std::string message = message_of([] { Silent()(ad::ones({4})); });
  CHECK(contains(message, "Silent: derives from Block without saying so"));
  CHECK_THROWS_AS(Silent().parameters(), ad::ValueError);
  CHECK_THROWS_AS(nn::Sequential(Silent()).parameters(), ad::ValueError);

  struct Inherits : nn::Module<Inherits, Block> {};  // both members() and forward()
  CHECK(Inherits().parameters().size() == 4);
  CHECK(Inherits()(ad::ones({4})).shape() == ad::Shape{4});

  struct Data {
    nn::Parameter first = ad::ones({1});
  };
  struct Mixed : Data, nn::Module<Mixed> {  // the module is not at the object's address
    void members(nn::Members& m) {
      if (names_it) m("first", first);
    }
    bool names_it = true;
  };
  Mixed mixed;
  CHECK(mixed.parameters().size() == 1);
  Mixed forgets;
  forgets.names_it = false;
  CHECK_THROWS_AS(forgets.parameters(), ad::ValueError);
}

TEST_CASE("Sequential") {
  nn::Sequential net{nn::Linear(4, 4), ad::relu, Block(),
                     nn::Sequential{nn::Linear(4, 2), [](const Tensor& x) { return x * 2; }}, nn::Flatten()};
  CHECK(net.size() == 5);
  CHECK(names_of(net.named_parameters()) == Names{"0.weight", "0.bias", "2.up.weight", "2.up.bias", "2.down.weight",
                                                  "2.down.bias", "3.0.weight", "3.0.bias"});
  const Tensor x = ad::randn({3, 4});
  const auto& inner = net.get<nn::Sequential>(3);
  const Tensor expected = 2 * inner.get<nn::Linear>(0)(net.get<Block>(2)(ad::relu(net.get<nn::Linear>(0)(x))));
  CHECK(ad::allclose(net(x), expected));

  const Tensor weight = net.get<nn::Linear>(0).weight;  // a handle
  nn::Sequential copy = net;
  CHECK(ad::allclose(copy(x), expected));
  copy.get<nn::Linear>(0).weight = ad::zeros({4, 4});
  CHECK_FALSE(ad::allclose(copy(x), expected));
  CHECK(ad::allclose(net(x), expected));

  net = copy;  // the same structure: cells stay
  CHECK(ad::allclose(net(x), copy(x)));
  CHECK(ad::equal(weight, ad::zeros({4, 4})));

  nn::Sequential other{nn::Linear(4, 3)};  // another one: cells are replaced
  net = other;
  CHECK(net.size() == 1);
  CHECK(ad::allclose(net(x), other(x)));
  net = nn::Sequential{nn::Linear(4, 1)};
  CHECK(net(x).shape() == ad::Shape{3, 1});
  net.push_back(nn::Sigmoid());
  CHECK(net.size() == 2);
  CHECK(names_of(net.named_parameters()) == Names{"0.weight", "0.bias"});

  const nn::Sequential empty;
  CHECK(empty.empty());
  CHECK(ad::equal(empty(x), x));
  CHECK_THROWS_AS(net[2], ad::ValueError);
  CHECK(message_of([&] { net.get<nn::Tanh>(0); }) == "Sequential: module 0 is Linear, not Tanh");

  struct Named : nn::Module<Named, nn::Sequential> {
    Named() : Module(nn::Linear(4, 2), nn::Tanh()) {}
  };
  const Named named, second = named;
  CHECK(named.parameters().size() == 2);
  CHECK(ad::equal(named(x), second(x)));
}

TEST_CASE("errors name the path of the module") {
  struct Net : nn::Module<Net> {
    nn::Sequential encoder{Block(), nn::Linear(4, 3)};
    void members(nn::Members& m) { m("encoder", encoder); }
    Tensor forward(const Tensor& x) const { return encoder(x); }
  };
  const Net net;
  try {
    net(ad::ones({2, 5}));
    FAIL("the shapes do not fit");
  } catch (const ad::ShapeError& error) {
    CHECK(error.module_path() == "encoder.0.up");
    CHECK(std::string(error.what()).rfind("encoder.0.up: ", 0) == 0);
  }
  // The module itself has no name.
  CHECK(message_of([] { nn::Linear(2, 2)(ad::ones({3})); }).find("linear") == 0);

  struct Picks : nn::Module<Picks> {
    Tensor forward(const Tensor& index) const { return ad::index_select(ad::ones({3}), 0, index); }
  };
  struct Late : nn::Module<Late> {
    nn::Sequential inner{Picks()};
    void members(nn::Members& m) { m("inner", inner); }
    Tensor forward(const Tensor& x) const { return inner(x); }
  };
  const Tensor bad = Late()(ad::tensor({7}));  // an error that only the value reveals
  try {
    ad::eval(bad);
    FAIL("the index is out of range");
  } catch (const ad::ValueError& error) {
    CHECK(error.module_path() == "inner.0");
  }
  const ad::EagerGuard eager;
  CHECK(message_of([] { Late()(ad::tensor({7})); }).rfind("inner.0: ", 0) == 0);
}

TEST_CASE("eight threads use one const network") {
  struct Net : nn::Module<Net> {
    std::vector<Block> blocks = std::vector<Block>(3);
    void members(nn::Members& m) { m("blocks", blocks); }
    Tensor forward(const Tensor& x) const {
      Tensor y = x;
      for (const Block& block : blocks) y = block(y);
      return y;
    }
  };
  const Net reference;
  const Net net = reference;  // has not been used yet: its first use is by eight threads
  const Tensor x = ad::linspace(-1, 1, 32).reshape({8, 4});
  const std::vector<float> expected = reference(x).to_vector<float>();
  std::vector<std::thread> threads;
  std::array<bool, 8> right{};
  for (std::size_t t = 0; t < right.size(); ++t)
    threads.emplace_back([&, t] {
      ad::set_num_threads(1);
      right[t] = true;
      for (int i = 0; i < 20; ++i) {
        const Tensor y = net(x);
        ad::autograd::grad({ad::sum(y)}, net.parameters());
        if (!ad::allclose(y.detach(), ad::from_blob(expected.data(), {8, 4}))) right[t] = false;
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const bool is_right : right) CHECK(is_right);
}

TEST_CASE("train, eval, zero_grad, freezing, to") {
  Everything net;
  net.eval();
  for (const auto& [name, module] : net.named_modules()) CHECK_FALSE(module->is_training());
  net.train();
  for (const auto& [name, module] : net.named_modules()) CHECK(module->is_training());

  ad::sum(net.block(ad::ones({4}))).backward();
  CHECK(net.block.up.weight.grad().defined());
  net.zero_grad();
  CHECK_FALSE(net.block.up.weight.grad().defined());

  net.block.requires_grad_(false);
  CHECK_FALSE(net.block.up.weight.requires_grad());
  CHECK(net.scale.requires_grad());
  CHECK_FALSE(net.block(ad::ones({4})).requires_grad());

  net.to(ad::float64);
  CHECK(net.scale.dtype() == ad::float64);
  CHECK(net.scale.requires_grad());
  CHECK(net.layers[1].bias.dtype() == ad::float64);
  CHECK_FALSE(net.block.up.weight.requires_grad());
  CHECK(net.count.dtype() == ad::int64);
  CHECK_FALSE(net.absent.defined());
  CHECK_THROWS_AS(net.to(ad::int64), ad::DtypeError);
}

TEST_CASE("frozen parameters get no gradient, are saved and copied, and no optimizer moves them") {
  struct Net : nn::Module<Net> {
    nn::Linear body{2, 3};
    nn::BatchNorm1d norm{3};
    nn::Linear head{3, 1};
    void members(nn::Members& m) { m("body", body)("norm", norm)("head", head); }
    Tensor forward(const Tensor& x) const { return head(ad::tanh(norm(body(x)))); }
  };
  Net net;
  net.body.requires_grad_(false);
  net.norm.requires_grad_(false);
  net.head.bias.requires_grad_(false);  // a single one
  CHECK(net.state_dict().size() == 9);

  ad::optim::SGDOptions options;
  options.lr = 0.1;
  options.weight_decay = 0.1;  // which would move what has no gradient, too
  ad::optim::SGD optimizer(net.parameters(), options);
  const Tensor x = ad::randn({5, 2});
  const auto step = [&] {
    optimizer.zero_grad();
    ad::sum(ad::square(net(x))).backward();
    optimizer.step();
  };
  const auto changed = [&](const ad::StateDict& before) {
    std::string names;
    for (const auto& [name, value] : net.state_dict())
      if (!ad::equal(value, before.at(name))) names += name + " ";
    return names;
  };
  ad::StateDict before = net.state_dict();
  step();
  CHECK_FALSE(net.body.weight.grad().defined());
  CHECK(net.head.weight.grad().defined());
  // The running statistics go by the mode alone.
  CHECK(changed(before) == "norm.running_mean norm.running_var norm.num_batches_tracked head.weight ");

  net.norm.eval();
  CHECK(net.is_training());
  before = net.state_dict();
  step();
  CHECK(changed(before) == "head.weight ");

  // Copies, conversions and assignments, also to what was undefined.
  Net copy = net;
  CHECK_FALSE(copy.body.weight.requires_grad());
  CHECK_FALSE(copy.norm.is_training());
  copy.to(ad::float64);
  CHECK_FALSE(copy.body.weight.requires_grad());
  CHECK(copy.head.weight.requires_grad());
  copy = Net();
  CHECK_FALSE(copy.body.weight.requires_grad());
  nn::Parameter undefined;
  undefined = net.body.weight;
  CHECK_FALSE(undefined.requires_grad());
  net.load_state_dict(before);
  CHECK_FALSE(net.body.weight.requires_grad());

  // Thawed, they move with the optimizer that they were given to.
  net.requires_grad_();
  before = net.state_dict();
  step();
  CHECK(changed(before) == "body.weight body.bias norm.weight norm.bias head.weight head.bias ");
  // What was frozen after its gradient was made keeps that, and stays.
  ad::sum(net(x)).backward();
  net.head.requires_grad_(false);
  before = net.state_dict();
  optimizer.step();
  CHECK(net.head.weight.grad().defined());
  CHECK(changed(before) == "body.weight body.bias norm.weight norm.bias ");
}

TEST_CASE("state_dict is a snapshot, load_state_dict restores it or changes nothing") {
  Everything net;
  const ad::StateDict saved = net.state_dict();
  CHECK(saved.size() == 15);
  CHECK(saved.find("absent") == nullptr);
  const std::vector<float> weight = net.block.up.weight.to_vector<float>();
  net.block.up.weight = ad::zeros({8, 4});
  net.count = ad::tensor(3);
  CHECK(saved.at("block.up.weight").to_vector<float>() == weight);
  CHECK_FALSE(saved.at("block.up.weight").requires_grad());
  const Tensor handle = net.block.up.weight;
  net.load_state_dict(saved);
  CHECK(handle.to_vector<float>() == weight);
  CHECK(net.count.item<int>() == 0);
  CHECK(handle.requires_grad());

  nn::Linear linear(2, 3);
  const ad::StateDict before = linear.state_dict();
  const auto unchanged = [&] {
    return ad::equal(linear.weight, before.at("weight")) && ad::equal(linear.bias, before.at("bias"));
  };
  ad::StateDict wrong;
  wrong.insert("weight", ad::zeros({3, 2}));
  CHECK_THROWS_AS(linear.load_state_dict(wrong), ad::ValueError);
  CHECK(unchanged());
  wrong.insert("bais", ad::zeros({3}));
  const std::string message = message_of([&] { linear.load_state_dict(wrong); });
  CHECK(contains(message, "load_state_dict: the values do not fit Linear"));
  CHECK(contains(message, "\"bais\" is not expected"));
  CHECK(contains(message, "\"bias\" is missing"));
  CHECK(unchanged());
  linear.load_state_dict(wrong, false);
  CHECK_FALSE(unchanged());
  CHECK(ad::equal(linear.bias, before.at("bias")));
  linear.load_state_dict(before);

  ad::StateDict shapes, dtypes;
  shapes.insert("weight", ad::ones({3, 2}));
  shapes.insert("bias", ad::ones({4}));
  CHECK_THROWS_AS(linear.load_state_dict(shapes), ad::ShapeError);
  CHECK_THROWS_AS(linear.load_state_dict(shapes, false), ad::ShapeError);
  dtypes.insert("weight", ad::ones({3, 2}));
  dtypes.insert("bias", ad::ones({3}, ad::float64));
  CHECK_THROWS_AS(linear.load_state_dict(dtypes), ad::DtypeError);
  CHECK(unchanged());
}

TEST_CASE("save and load") {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "adjoint_test_nn_module";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const std::string path = (folder / "net.safetensors").string();
  const Everything net;
  net.save(path);
  Everything other;
  CHECK_FALSE(ad::equal(other.block.up.weight, net.block.up.weight));
  other.load(path);
  const ad::StateDict expected = net.state_dict(), loaded = other.state_dict();
  for (const auto& [name, tensor] : expected) CHECK(ad::equal(loaded.at(name), tensor));

  nn::Linear linear(2, 2);
  CHECK(contains(message_of([&] { linear.load(path); }), "load: " + path + ": the values do not fit Linear"));
  CHECK_THROWS_AS(linear.load((folder / "missing").string()), ad::IoError);
  CHECK_THROWS_AS(linear.save((folder / "missing" / "net").string()), ad::IoError);
  std::filesystem::remove_all(folder);
}

TEST_CASE("printing") {
  struct Net : nn::Module<Net> {
    nn::Sequential layers{nn::Flatten(), nn::Linear(784, 256), nn::ReLU(), nn::Dropout(0.25),
                          nn::Linear(256, 10, false)};
    nn::Parameter scale = ad::ones({1});
    nn::Buffer mean = ad::zeros({2, 3});
    void members(nn::Members& m) { m("layers", layers)("scale", scale)("mean", mean); }
  };
  Net net;
  net.layers[4].requires_grad_(false);
  std::ostringstream text;
  text << net;
  CHECK(text.str() ==
        "Net  scale (1,), mean (2, 3) buffer: 1\n"
        "  layers: Sequential\n"
        "    0: Flatten\n"
        "    1: Linear(in=784, out=256)  weight (256, 784), bias (256,): 200,960\n"
        "    2: ReLU\n"
        "    3: Dropout(p=0.25)\n"
        "    4: Linear(in=256, out=10, bias=false)  weight (10, 256) frozen: 2,560\n"
        "203,521 parameters");
  nn::ModuleList<nn::Linear> list;
  list.emplace_back(2, 1);
  CHECK(to_string(nn::Sequential(ad::gelu)) == "Sequential\n  0: Function\n0 parameters");
  CHECK(to_string(list) == "ModuleList\n  0: Linear(in=2, out=1)  weight (1, 2), bias (1,): 3\n3 parameters");
  CHECK(to_string(nn::ReLU()) == "ReLU\n0 parameters");
}
