#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <sys/resource.h>

namespace ad = adjoint;
namespace io = ad::io;
namespace fs = std::filesystem;
using ad::Tensor;

namespace {

/// A folder of this program's, removed with the object.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("adjoint_test_io_" + std::to_string(std::random_device()()))) {
    fs::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::size_t count() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
  }

 private:
  fs::path path_;
};

void write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + rest;
}

/// A file of this header, followed by `data` bytes.
std::string file_of(const std::string& header, std::size_t data) {
  return with_length(header.size(), header) + std::string(data, '\1');
}

template <class Function>
std::string message_of(const Function& function) {
  try {
    function();
  } catch (const ad::IoError& error) {
    return error.what();
  }
  return "no IoError was thrown";
}

ad::StateDict example() {
  ad::StateDict tensors;
  tensors.insert("bools", ad::tensor({true, false, true}));
  tensors.insert("bytes", ad::tensor({1, 2, 255}, ad::uint8));
  tensors.insert("a.b", ad::tensor({{1.5f, -2.0f}, {0.0f, 1e30f}}));
  tensors.insert("longs", ad::tensor({std::int64_t{1} << 60, std::int64_t{-1}}));
  tensors.insert("ints", ad::tensor({{7}}, ad::int32));
  tensors.insert("doubles", ad::tensor({0.1, 0.2}, ad::float64));
  tensors.insert("scalar", ad::full({}, 3.5));
  tensors.insert("empty", ad::zeros({0, 3}));
  tensors.insert("transposed", ad::arange(6).reshape({2, 3}).t());
  tensors.insert("na\"me \xc3\xa4", ad::ones({1}) * 2);
  return tensors;
}

}  // namespace

TEST_CASE("StateDict") {
  ad::StateDict dict;
  CHECK(dict.empty());
  dict.insert("b", ad::ones({1}));
  dict.insert("a", ad::ones({2}));
  CHECK(dict.size() == 2);
  CHECK(dict.begin()->first == "b");
  CHECK(dict.at("a").shape() == ad::Shape{2});
  CHECK(dict.find("c") == nullptr);
  CHECK_THROWS_AS(dict.at("c"), ad::ValueError);
  CHECK_THROWS_AS(dict.insert("a", ad::ones({1})), ad::ValueError);
  CHECK_THROWS_AS(dict.insert("c", Tensor()), ad::ValueError);
  CHECK(dict.size() == 2);
  using Entries = std::vector<ad::StateDict::value_type>;
  CHECK_THROWS_AS(ad::StateDict(Entries{{"x", ad::ones({1})}, {"y", ad::ones({1})}, {"x", ad::ones({1})}}),
                  ad::ValueError);
  CHECK_THROWS_AS(ad::StateDict(Entries{{"x", Tensor()}}), ad::ValueError);
}

TEST_CASE("what was saved is loaded") {
  const Folder folder;
  const std::string path = folder / "example.safetensors";
  const ad::StateDict tensors = example();
  const io::Metadata metadata = {{"format", "test"}, {"made by", "adjoint"}};
  io::save_safetensors(path, tensors, metadata);
  io::Metadata loaded_metadata;
  const ad::StateDict loaded = io::load_safetensors(path, &loaded_metadata);
  CHECK(loaded.size() == tensors.size());
  CHECK(loaded_metadata == metadata);
  for (const auto& [name, tensor] : tensors) {
    CAPTURE(name);
    CHECK(loaded.at(name).dtype() == tensor.dtype());
    CHECK(ad::equal(loaded.at(name), tensor));
  }
  CHECK(folder.count() == 1);

  // The bytes are those of the format.
  io::save_safetensors(path, [] {
    ad::StateDict one;
    one.insert("x", ad::tensor({1, 2}, ad::uint8));
    return one;
  }());
  const std::string header = R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  CHECK(read(path) == with_length(padded.size(), padded + "\1\2"));

  io::save_safetensors(path, {});
  CHECK(io::load_safetensors(path).empty());
}

TEST_CASE("a file written by the reference implementation") {
  const ad::StateDict mlp = io::load_safetensors(ADJOINT_SOURCE_DIR "/tests/golden/mlp.safetensors");
  CHECK(mlp.at("inputs").shape() == ad::Shape{20, 9, 12});
  CHECK(mlp.at("labels").dtype() == ad::int64);
  CHECK(mlp.at("labels")[0][3].item<int>() == -100);
}

TEST_CASE("saving either succeeds or leaves what was there") {
  const Folder folder;
  const std::string path = folder / "file";
  write(path, "before");
  ad::StateDict bad;
  bad.insert("__metadata__", ad::ones({1}));
  CHECK_THROWS_AS(io::save_safetensors(path, bad), ad::ValueError);
  bad = {};
  bad.insert("\xff", ad::ones({1}));
  CHECK_THROWS_AS(io::save_safetensors(path, bad), ad::ValueError);
  bad = {};
  bad.insert("x", ad::index_select(ad::ones({2}), 0, ad::tensor({5})));  // fails when computed
  CHECK_THROWS_AS(io::save_safetensors(path, bad), ad::ValueError);
  CHECK(read(path) == "before");

  const auto fails = [&](const std::string& name, const std::string& part) {
    const std::string message = message_of([&] { io::save_safetensors(folder / name, example()); });
    CAPTURE(message);
    CHECK(message.find(part) != std::string::npos);
  };
  fs::create_directories(folder / "directory");
  fs::create_symlink("nowhere", folder / "dangling");
  fs::create_symlink("file", folder / "link");
  fails("directory", "is no regular file");
  fails("dangling", "leads nowhere");
  fails("missing/file", "cannot create");
  fails(std::string(255, 'x'), "cannot create");
  {
    // As on a full disk, writing fails after the first bytes.
    rlimit limit{};
    REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    const rlimit small{100, limit.rlim_max};
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    const std::string message = message_of([&] { io::save_safetensors(path, example()); });
    setrlimit(RLIMIT_FSIZE, &limit);
    std::signal(SIGXFSZ, handler);
    CHECK(message.find("cannot write") != std::string::npos);
  }
  CHECK(read(path) == "before");
  CHECK(folder.count() == 4);  // no temporary files

  io::save_safetensors(folder / "link", example());
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(folder.count() == 4);
  CHECK(io::load_safetensors(path).size() == example().size());
}

TEST_CASE("bad files") {
  const Folder folder;
  const std::string path = folder / "file";
  const auto problem = [&](const std::string& bytes) {
    write(path, bytes);
    const std::string message = message_of([&] { io::load_safetensors(path); });
    CHECK(message.find("load_safetensors: " + path + ": ") == 0);
    return message;
  };
  const auto expect = [&](const std::string& bytes, const std::string& part) {
    const std::string message = problem(bytes);
    CAPTURE(message);
    CAPTURE(part);
    CHECK(message.find(part) != std::string::npos);
  };
  const auto tensor = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"x":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };

  CHECK(message_of([&] { io::load_safetensors(folder / "missing"); }).find("no such file") != std::string::npos);
  CHECK(message_of([&] { io::load_safetensors(folder / "."); }).find("no regular file") != std::string::npos);

  // The length of the header.
  expect("", "truncated");
  expect("1234567", "truncated");
  expect(with_length(3, "{}"), "its header would have 3 bytes");
  expect(with_length(~std::uint64_t{0}, "{}"), "its header would have");
  expect(with_length(std::uint64_t{1} << 63, "{}"), "its header would have");
  expect(with_length(0, ""), "does not begin with {");

  // The header as JSON.
  expect(file_of("", 4), "does not begin with {");
  expect(file_of(" {}", 0), "does not begin with {");
  expect(file_of("[]", 0), "does not begin with {");
  expect(file_of("{", 0), "no valid JSON");
  expect(file_of("{}x", 0), "no valid JSON");
  expect(file_of("{\"\xff\":{}}", 0), "no valid JSON");
  expect(file_of(std::string(100000, '{'), 0), "no valid JSON");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  expect(file_of(deep, 0), "has an unknown field");
  expect(file_of("{\"x\":" + std::string(100000, '['), 0), "is an array");

  // The header's content.
  expect(file_of(R"({"x":1})", 0), "\"x\" is a number, not an object");
  expect(file_of(R"({"x":null})", 0), "\"x\" is null, not an object");
  expect(file_of(R"({"x":{}})", 0), "needs the fields");
  expect(file_of(R"({"x":{"dtype":"F32","shape":[]}})", 4), "needs the fields");
  expect(file_of(R"({"x":{"dtype":"F32","shape":[],"data_offsets":[0,4],"more":1}})", 4), "unknown field \"more\"");
  expect(file_of(R"({"x":{"dtype":"F32","dtype":"F32","data_offsets":[0,4]}})", 4), "field \"dtype\" twice");
  const std::string one = R"("x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  expect(file_of("{" + one + "," + one + "}", 1), "the name \"x\" occurs twice");
  expect(file_of(R"({"__metadata__":{"a":1}})", 0), "the metadata hold a number");
  expect(file_of(R"({"__metadata__":{"a":{}}})", 0), "the metadata hold an object");
  expect(file_of(R"({"__metadata__":{"a":"1","a":"2"}})", 0), "the metadata \"a\" occur twice");
  expect(file_of(R"({"__metadata__":[]})", 0), "is an array");

  // Dtypes.
  expect(file_of(tensor("F16", "[2]", "[0,4]"), 4), "dtype F16; F64, F32, I64, I32, U8 and BOOL can be read");
  expect(file_of(tensor("BF16", "[2]", "[0,4]"), 4), "dtype BF16");
  expect(file_of(R"({"x":{"dtype":7,"shape":[2],"data_offsets":[0,2]}})", 2), "a number as its dtype");
  std::string bool_file = file_of(tensor("BOOL", "[2]", "[0,2]"), 2);
  bool_file.back() = '\2';
  expect(bool_file, "neither 0 nor 1");

  // Shapes.
  expect(file_of(tensor("U8", "2", "[0,2]"), 2), "a number as its shape");
  expect(file_of(tensor("U8", "[-2]", "[0,2]"), 2), "a negative number in its shape");
  expect(file_of(tensor("U8", "[2.0]", "[0,2]"), 2), "a fraction in its shape");
  expect(file_of(tensor("U8", "[[2]]", "[0,2]"), 2), "an array");
  expect(file_of(tensor("U8", "[\"2\"]", "[0,2]"), 2), "a string in its shape");
  expect(file_of(tensor("U8", "[1,1,1,1,1,1,1,1,2]", "[0,2]"), 2), "more than 8 dims");
  expect(file_of(tensor("U8", "[18446744073709551615]", "[0,2]"), 2), "a size that is too large");
  expect(file_of(tensor("U8", "[99999999999999999999]", "[0,2]"), 2), "a fraction in its shape");
  expect(file_of(tensor("U8", "[4294967296,4294967296]", "[0,0]"), 0), "is too large");
  expect(file_of(tensor("F64", "[2305843009213693952]", "[0,0]"), 0), "is too large");
  expect(file_of(tensor("U8", "[0,4611686018427387904,4]", "[0,0]"), 0), "is too large");

  // Places.
  expect(file_of(tensor("U8", "[2]", "[0]"), 2), "less than two data_offsets");
  expect(file_of(tensor("U8", "[2]", "[0,2,4]"), 2), "more than two data_offsets");
  expect(file_of(tensor("U8", "[2]", "[2,0]"), 2), "should have 2 bytes");
  expect(file_of(tensor("F32", "[2]", "[0,4]"), 4), "should have 8 bytes");
  expect(file_of(tensor("U8", "[2]", "[0,2]"), 1), "truncated");
  expect(file_of(tensor("U8", "[2]", "[0,2]"), 3), "the file has 3 bytes of data");
  expect(file_of(tensor("U8", "[2]", "[1,3]"), 3), "leaves a gap");
  expect(file_of(tensor("U8", "[1099511627776]", "[0,1099511627776]"), 3), "truncated");
  expect(file_of(tensor("U8", "[2]", "[18446744073709551614,18446744073709551615]"), 2), "should have 2 bytes");
  expect(file_of(R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                 R"("y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                 3),
         "overlaps");
}

TEST_CASE("files that were changed at random are read or refused, and nothing else") {
  const Folder folder;
  const std::string path = folder / "file";
  io::save_safetensors(path, example(), {{"key", "value"}});
  const std::string good = read(path);
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, good.data(), sizeof header_size);
  std::mt19937 random(1);
  const auto below = [&](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  const std::string digits = "0123456789,[]{}\"- eE.";
  int refused = 0, accepted = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string bytes = good;
    const std::size_t changes = 1 + below(3);
    for (std::size_t c = 0; c < changes; ++c) {
      const std::size_t in_header = 8 + below(header_size);
      switch (below(5)) {
        case 0:
          bytes[below(bytes.size())] = static_cast<char>(below(256));
          break;
        case 1:
          bytes[in_header % bytes.size()] = digits[below(digits.size())];
          break;
        case 2:
          bytes.resize(1 + below(bytes.size()));
          break;
        case 3:
          bytes.insert(below(bytes.size()), 1, digits[below(digits.size())]);
          break;
        default:
          bytes[below(std::min<std::size_t>(8, bytes.size()))] = static_cast<char>(below(256));
          break;
      }
    }
    write(path, bytes);
    const std::int64_t live = ad::memory::stats().live;
    try {
      for (const auto& [name, tensor] : io::load_safetensors(path)) ad::eval(tensor);
      ++accepted;
    } catch (const ad::IoError&) {
      ++refused;
    }
    CHECK(ad::memory::stats().live == live);
  }
  CHECK(refused > 1000);
  CHECK(accepted > 10);
}
