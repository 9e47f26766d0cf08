#include "data/byte_source.hpp"

#include <adjoint/error.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include <zlib.h>

namespace adjoint::data {

namespace {

constexpr unsigned char kGzipMagic[] = {0x1f, 0x8b};

struct CloseFile {
  void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};

}  // namespace

struct ByteSource::State {
  std::string path;
  std::unique_ptr<std::FILE, CloseFile> file;
  std::uint64_t file_size = 0;
  bool gzipped = false, in_stream = false;
  z_stream zlib = {};
  // What was read from the file and not yet used: input[position .. end).
  unsigned char input[1 << 16];
  std::size_t position = 0, end = 0;

  ~State() {
    if (gzipped) inflateEnd(&zlib);
  }
};

ByteSource::ByteSource(const std::string& path) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.path = path;
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) fail("there is no such file");
  if (std::filesystem::is_directory(status)) fail("is a directory; expected a file");
  s.file.reset(std::fopen(path.c_str(), "rb"));
  if (!s.file) fail(std::string("cannot be opened: ") + std::strerror(errno));
  s.file_size = std::filesystem::file_size(path, error);
  if (error) s.file_size = UINT64_MAX;  // a pipe: as long as it likes to be
  fill();
  if (s.end >= 2 && std::memcmp(s.input, kGzipMagic, 2) == 0) {
    if (inflateInit2(&s.zlib, 15 + 16) != Z_OK) fail("zlib cannot be initialised");
    s.gzipped = s.in_stream = true;
  }
}

ByteSource::~ByteSource() = default;

void ByteSource::fail(const std::string& what) const { throw IoError("'" + state_->path + "': " + what); }

std::uint64_t ByteSource::limit() const noexcept {
  constexpr std::uint64_t kMostExpansion = 1032;
  const State& s = *state_;
  if (!s.gzipped) return s.file_size;
  return s.file_size > UINT64_MAX / kMostExpansion ? UINT64_MAX : s.file_size * kMostExpansion;
}

void ByteSource::fill() {
  State& s = *state_;
  s.position = 0;
  s.end = std::fread(s.input, 1, sizeof s.input, s.file.get());
  if (s.end == 0 && std::ferror(s.file.get())) fail(std::string("cannot be read: ") + std::strerror(errno));
}

std::size_t ByteSource::read(std::byte* to, std::size_t count) {
  return state_->gzipped ? read_gzipped(to, count) : read_plain(to, count);
}

std::size_t ByteSource::read_plain(std::byte* to, std::size_t count) {
  State& s = *state_;
  std::size_t done = 0;
  while (done < count) {
    if (s.position == s.end) fill();
    const std::size_t part = std::min(count - done, s.end - s.position);
    if (part == 0) break;
    std::memcpy(to + done, s.input + s.position, part);
    s.position += part;
    done += part;
  }
  return done;
}

std::size_t ByteSource::read_gzipped(std::byte* to, std::size_t count) {
  State& s = *state_;
  std::size_t done = 0;
  while (done < count) {
    if (s.position == s.end) fill();
    if (!s.in_stream) {
      // After a stream: the end, or another one (gzip files may be concatenated).
      if (s.end == 0) break;
      if (s.input[s.position] != kGzipMagic[0]) fail("has bytes behind the end of its gzip stream");
      inflateReset(&s.zlib);
      s.in_stream = true;
    }
    if (s.end == 0) fail("is truncated: the file ends within the gzip stream");
    const auto room = static_cast<uInt>(std::min<std::size_t>(count - done, 1U << 30));
    s.zlib.next_in = s.input + s.position;
    s.zlib.avail_in = static_cast<uInt>(s.end - s.position);
    s.zlib.next_out = reinterpret_cast<unsigned char*>(to + done);
    s.zlib.avail_out = room;
    const int result = inflate(&s.zlib, Z_NO_FLUSH);
    s.position = s.end - s.zlib.avail_in;
    done += room - s.zlib.avail_out;
    if (result == Z_STREAM_END) s.in_stream = false;
    else if (result != Z_OK && result != Z_BUF_ERROR)
      fail(std::string("is corrupt: ") + (s.zlib.msg ? s.zlib.msg : "no sound gzip stream"));
  }
  return done;
}

}  // namespace adjoint::data
