// The profile: a Chrome trace of what was computed.
#include "message_of.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace ad = adjoint;
namespace nn = adjoint::nn;
using ad::Tensor;
using ad::profiler::Profile;
using Json = nlohmann::json;

namespace {

std::vector<Json> events(const Profile& profile, const std::string& phase = "X", const std::string& name = "") {
  std::vector<Json> result;
  const Json trace = Json::parse(profile.json());
  for (const Json& event : trace.at("traceEvents"))
    if (event.at("ph") == phase && (name.empty() || event.at("name") == name)) result.push_back(event);
  return result;
}

bool contains(const Json& outer, const Json& inner) {
  const double begin = outer.at("ts"), end = begin + outer.at("dur").get<double>();
  const double from = inner.at("ts"), to = from + inner.at("dur").get<double>();
  return begin <= from && to <= end + 0.001 && outer.at("tid") == inner.at("tid");
}

}  // namespace

TEST_CASE("a profile notes evaluations, their planning, and steps with what they cost") {
  const Tensor x = ad::randn({64, 128}), w = ad::randn({32, 128});
  ad::eval(x, w);
  const Tensor y = ad::softmax(ad::matmul(x, w.t()), -1);
  const ad::Explanation plan = ad::explain(y);
  const Profile profile;
  ad::eval(y);
  const std::vector<Json> all = events(profile);
  const std::vector<Json> evaluations = events(profile, "X", "evaluation");
  const std::vector<Json> plannings = events(profile, "X", "planning");
  REQUIRE(evaluations.size() == 1);
  REQUIRE(plannings.size() == 1);
  CHECK(evaluations[0].at("args").at("operations") == plan.operations);
  CHECK(contains(evaluations[0], plannings[0]));
  const std::vector<Json> products = events(profile, "X", "matmul");
  REQUIRE(products.size() == 1);
  const Json& product = products[0];
  CHECK(contains(evaluations[0], product));
  CHECK_FALSE(contains(plannings[0], product));
  CHECK(product.at("args").at("result") == "float32 (64, 32)");
  CHECK(product.at("args").at("input 0") == "(64, 128)");
  CHECK(product.at("args").at("input 1") == "(128, 32)");
  CHECK(product.at("args").at("flops") == 2 * 64 * 32 * 128);
  const std::vector<Json> softmax = events(profile, "X", "amax sub exp sum div mul");
  REQUIRE(softmax.size() == 1);
  CHECK(all.size() == 4);
  // As explain() counts them.
  const auto sum = [&](const char* what) {
    return product.at("args").at(what).get<std::int64_t>() + softmax[0].at("args").at(what).get<std::int64_t>();
  };
  CHECK(sum("bytes read") == plan.bytes_read);
  CHECK(sum("bytes written") == plan.bytes_written);
  CHECK(sum("flops") == plan.flops);
  const std::vector<Json> memory = events(profile, "C", "memory");
  REQUIRE(memory.size() == 3);
  CHECK(memory.back().at("args").at("live bytes") == ad::memory::stats().live);
}

TEST_CASE("a training step, replayed, with the modules that recorded its steps") {
  ad::manual_seed(1);
  nn::Sequential net(nn::Linear(8, 16), nn::ReLU(), nn::Linear(16, 4));
  ad::optim::Adam optimizer(net.parameters());
  const auto step = [&] {
    optimizer.zero_grad();
    nn::cross_entropy(net(ad::randn({32, 8})), ad::randint(0, 4, {32})).backward();
    optimizer.step();
  };
  for (int i = 0; i < 4; ++i) step();
  Profile profile;
  step();
  step();
  profile.stop();
  step();
  std::set<std::string> modules;
  for (const Json& event : events(profile))
    if (event.at("args").contains("module")) modules.insert(event.at("args").at("module").get<std::string>());
  CHECK(modules.count("0") == 1);
  CHECK(modules.count("2") == 1);
  const std::vector<Json> evaluations = events(profile, "X", "evaluation");
  CHECK(evaluations.size() == 2);
  CHECK(evaluations[1].at("args").at("replayed") == true);
  // The update of the parameters, which comes last.
  bool updated = false;
  for (const Json& event : events(profile))
    updated |= event.at("name").get<std::string>().find("sqrt") != std::string::npos;
  CHECK(updated);
}

TEST_CASE("operations one by one, and more than fit into a name") {
  const Tensor x = ad::randn({700});
  ad::eval(x);
  const auto chain = [&] {
    Tensor y = x;
    for (int i = 0; i < 10; ++i) y = ad::sin(y);
    return y;
  };
  const Profile profile;
  ad::eval(chain());
  CHECK(events(profile, "X", "sin sin sin sin sin sin sin sin and 2 more").size() == 1);
  {
    ad::engine::Options options;
    options.fusion = false;
    const ad::engine::OptionsGuard guard(options);
    ad::eval(chain());
  }
  CHECK(events(profile, "X", "sin").size() == 10);
}

TEST_CASE("each thread of the program has its own track") {
  const Profile profile;
  ad::eval(ad::ones({100}) + 1);
  std::thread([] { ad::eval(ad::ones({100}) + 1); }).join();
  std::set<int> threads;
  for (const Json& event : events(profile, "X", "evaluation")) threads.insert(event.at("tid").get<int>());
  CHECK(threads.size() == 2);
  CHECK(events(profile, "M", "thread_name").size() == 2);
}

TEST_CASE("threads compute while a profile ends and is read") {
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      while (!done) {
        ad::eval(ad::sin(ad::ones({64})) * 2);
        std::this_thread::sleep_for(std::chrono::microseconds(200));  // or the traces grow while they are read
      }
    });
  for (int i = 0; i < 20; ++i) {
    Profile profile;
    for (int k = 0; k < 20; ++k) ad::eval(ad::sin(ad::ones({64})) * 2);
    CHECK(events(profile, "X", "evaluation").size() >= 20);
    profile.stop();
    CHECK_NOTHROW(Json::parse(profile.json()));
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("many events") {
  const Tensor x = ad::randn({8});
  ad::eval(x);
  const Profile profile;
  for (int i = 0; i < 5000; ++i) ad::eval(x + 1);
  CHECK(events(profile, "X", "add").size() == 5000);
}

TEST_CASE("names are escaped") {
  const std::string name = "a\"b\\c\n\x01\xc3\xa4\xff\xed\xa0\x80";
  const ad::detail::ModuleScope scope(name.c_str());
  const Profile profile;
  ad::eval(ad::ones({4}) + 1);
  std::string found;
  for (const Json& event : events(profile))
    if (event.at("args").contains("module")) found = event.at("args").at("module").get<std::string>();
  const std::string unknown = "\xef\xbf\xbd";
  CHECK(found == "a\"b\\c\n\x01\xc3\xa4" + unknown + unknown + unknown + unknown);
}

TEST_CASE("one profile at a time, and files") {
  Profile profile;
  CHECK(message_of([] { Profile(); }) == "Profile: another profile is running; it must be stopped first");
  ad::eval(ad::ones({3}) * 2);
  const std::string path = "test_profiler.json";
  profile.save(path);
  std::ifstream file(path);
  CHECK(Json::parse(file).at("traceEvents").size() > 3);
  file.close();
  std::remove(path.c_str());
  const Profile next;  // save() has stopped the other one
  CHECK(message_of([&] { profile.save("no/such/folder/trace.json"); }) ==
        "save: cannot open no/such/folder/trace.json: No such file or directory");
  CHECK_THROWS_AS(profile.save("no/such/folder/trace.json"), ad::IoError);
}
