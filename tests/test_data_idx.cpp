// IDX files, made here byte by byte: sound ones, and every defect that we could think of.
#include <adjoint/data/idx.hpp>

#include <doctest/doctest.h>

#include <unistd.h>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <zlib.h>

namespace ad = adjoint;
using ad::data::IdxReader;
using Bytes = std::string;

namespace {

/// A file of these bytes that is gone after the test.
struct File {
  explicit File(const Bytes& bytes)
      : path(std::filesystem::temp_directory_path() /
             ("adjoint_idx_" + std::to_string(getpid()) + "_" + std::to_string(counter++))) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  ~File() { std::filesystem::remove(path); }
  inline static int counter = 0;
  std::filesystem::path path;
};

Bytes big_endian(std::uint64_t value, int count) {
  Bytes bytes;
  for (int i = count - 1; i >= 0; --i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

Bytes header(int type, const std::vector<std::uint32_t>& sizes) {
  Bytes bytes = {0, 0, static_cast<char>(type), static_cast<char>(sizes.size())};
  for (std::uint32_t size : sizes) bytes += big_endian(size, 4);
  return bytes;
}

Bytes gzip(const Bytes& bytes) {
  z_stream stream = {};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  Bytes result(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(result.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  result.resize(stream.total_out);
  deflateEnd(&stream);
  return result;
}

template <class T>
std::vector<T> values_of(const Bytes& bytes) {
  return IdxReader(File(bytes).path).read().to_vector<T>();
}

/// Reads the file, which must throw IoError; the message must name the file and contain `part`.
void check_refused(const Bytes& bytes, const std::string& part) {
  CAPTURE(part);
  const File file(bytes);
  try {
    IdxReader(file.path).read();
    FAIL_CHECK("was read");
  } catch (const ad::IoError& error) {
    CAPTURE(error.what());
    CHECK(std::string(error.what()).find(file.path.string()) != std::string::npos);
    CHECK(std::string(error.what()).find(part) != std::string::npos);
  }
}

Bytes pattern(std::size_t count) {
  Bytes bytes;
  for (std::size_t i = 0; i < count; ++i) bytes += static_cast<char>(i * 37 + i / 251);
  return bytes;
}

}  // namespace

TEST_CASE("bytes, plain and gzipped") {
  const Bytes elements = pattern(3 * 4 * 5);
  const Bytes plain = header(8, {3, 4, 5}) + elements;
  for (const Bytes& bytes : {plain, gzip(plain)}) {
    const File file(bytes);
    IdxReader reader(file.path);
    CHECK(reader.shape() == ad::Shape{3, 4, 5});
    CHECK(reader.dtype() == ad::uint8);
    const ad::Tensor tensor = reader.read();
    CHECK(tensor.shape() == ad::Shape{3, 4, 5});
    REQUIRE(tensor.dtype() == ad::uint8);
    CHECK(std::memcmp(tensor.data<std::uint8_t>(), elements.data(), elements.size()) == 0);
    CHECK_THROWS_AS(reader.read(), ad::IoError);
  }
}

TEST_CASE("all element types") {
  CHECK(values_of<std::int32_t>(header(0x09, {3}) + big_endian(0x007f80, 3)) ==
        std::vector<std::int32_t>{0, 127, -128});
  CHECK(values_of<std::int32_t>(header(0x0b, {3}) + big_endian(0, 2) + big_endian(0x0102, 2) + big_endian(0xfffe, 2)) ==
        std::vector<std::int32_t>{0, 258, -2});
  CHECK(values_of<std::int32_t>(header(0x0c, {2}) + big_endian(0x01020304, 4) + big_endian(0x80000000, 4)) ==
        std::vector<std::int32_t>{16909060, INT32_MIN});
  CHECK(values_of<float>(header(0x0d, {2}) + big_endian(0x3fc00000, 4) + big_endian(0xc0490fdb, 4)) ==
        std::vector<float>{1.5f, -3.14159274f});
  CHECK(values_of<double>(header(0x0e, {1}) + big_endian(0x400921fb54442d18, 8)) ==
        std::vector<double>{3.141592653589793});
}

TEST_CASE("larger than every buffer, concatenated gzip streams, no elements") {
  const Bytes elements = pattern(5'000'000);
  const Bytes plain = header(8, {5000, 1000}) + elements;
  const Bytes streams = gzip(plain.substr(0, 1'000'003)) + gzip("") + gzip(plain.substr(1'000'003));
  for (const Bytes& bytes : {plain, gzip(plain), streams}) {
    const File file(bytes);
    const ad::Tensor tensor = IdxReader(file.path).read();
    CHECK(std::memcmp(tensor.data<std::uint8_t>(), elements.data(), elements.size()) == 0);
  }
  CHECK(values_of<std::uint8_t>(gzip(header(8, {0, 28, 28}))).empty());
}

TEST_CASE("no file, no regular file, no permission") {
  CHECK_THROWS_WITH_AS(IdxReader("/nowhere/at-all.gz"), "'/nowhere/at-all.gz': there is no such file", ad::IoError);
  CHECK_THROWS_WITH_AS(IdxReader("/"), "'/': is a directory; expected a file", ad::IoError);
  if (geteuid() != 0) {
    const File file(header(8, {0}));
    std::filesystem::permissions(file.path, std::filesystem::perms::none);
    CHECK_THROWS_AS(IdxReader(file.path), ad::IoError);
  }
}

TEST_CASE("not IDX") {
  check_refused("", "begins with the bytes ''");
  check_refused(Bytes{0, 0}, "begins with the bytes '00 00'");
  check_refused("<!DOCTYPE html>", "begins with the bytes '3c 21 44 4f'");
  check_refused(gzip("<!DOCTYPE html>"), "begins with the bytes '3c 21 44 4f'");
  check_refused(gzip(""), "no IDX file");
  check_refused(Bytes{0, 1, 8, 1} + big_endian(0, 4), "no IDX file");
  for (int type : {0, 7, 0x0a, 0x0f, 0xff}) check_refused(header(type, {1}) + "x", "no IDX file");
  check_refused(header(8, {}), "announces 0 dims");
  check_refused(header(8, std::vector<std::uint32_t>(9, 1)) + "x", "announces 9 dims");
}

TEST_CASE("truncated, or too long") {
  const Bytes plain = header(8, {10, 10}) + pattern(100);
  check_refused(plain.substr(0, 7), "truncated within its header");
  check_refused(gzip(plain.substr(0, 11)), "truncated within its header");
  check_refused(header(8, {3}) + "xx", "and holds 2");
  check_refused(gzip(plain.substr(0, plain.size() - 1)), "and holds 99");
  check_refused(plain + "x", "bytes behind the 100");
  check_refused(gzip(plain + "x"), "bytes behind the 100");
  check_refused(gzip(plain) + gzip("x"), "bytes behind the 100");
  check_refused(gzip(plain) + "garbage", "behind the end of its gzip stream");

  const Bytes zipped = gzip(plain);
  for (std::size_t length = 2; length < zipped.size(); ++length) {
    CAPTURE(length);
    check_refused(zipped.substr(0, length), "truncated");
  }
}

TEST_CASE("every damaged byte of a gzip stream is noticed, or does no harm") {
  const Bytes plain = header(8, {10, 10}) + pattern(100);
  const Bytes zipped = gzip(plain);
  int noticed = 0;
  for (std::size_t i = 0; i < zipped.size(); ++i) {
    Bytes damaged = zipped;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x55);
    const File file(damaged);
    try {
      const ad::Tensor tensor = IdxReader(file.path).read();
      CHECK(std::memcmp(tensor.data<std::uint8_t>(), plain.data() + 12, 100) == 0);
    } catch (const ad::IoError&) {
      ++noticed;
    }
  }
  // The header's time, system and level are not protected by anything.
  CHECK(noticed >= static_cast<int>(zipped.size()) - 6);
}

TEST_CASE("sizes are not believed before the bytes are there") {
  const std::uint32_t most = 0xffffffff;
  check_refused(header(8, {most}) + "x", "holds at most");
  check_refused(header(8, {60000, 28, 28}) + "x", "holds at most");
  check_refused(header(0x0e, {most, most, most, most, most, most, most, most}), "holds at most");
  check_refused(gzip(header(8, {most, most})), "holds at most");
  // 65536 * 65536 * ... * 65536 is 0 in 64 bits.
  check_refused(header(8, {65536, 65536, 65536, 65536}), "holds at most");
  check_refused(header(0x0e, {0x20000000, 16}), "holds at most");
  // Within what a gzip file of this size could hold.
  check_refused(gzip(header(8, {20000})), "and holds 0");
}

TEST_CASE("a shape that was not expected") {
  const File file(header(8, {3, 4, 5}) + pattern(60));
  CHECK_NOTHROW(IdxReader(file.path).expect(ad::uint8, {3, 4, 5}));
  CHECK(IdxReader(file.path).expect(ad::uint8, {-1, 4, 5}).read().shape() == ad::Shape{3, 4, 5});
  CHECK_THROWS_WITH_AS(
      IdxReader(file.path).expect(ad::uint8, {-1, 28, 28}),
      ("'" + file.path.string() + "': holds uint8 (3, 4, 5); expected uint8 (-1, 28, 28) (-1: any size)").c_str(),
      ad::IoError);
  CHECK_THROWS_AS(IdxReader(file.path).expect(ad::uint8, {-1}), ad::IoError);
  CHECK_THROWS_AS(IdxReader(file.path).expect(ad::float32, {3, 4, 5}), ad::IoError);
}
