// A file's bytes, decompressed when it is gzipped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace adjoint::data {

/// Throws IoError naming the file when it cannot be read, ends early, or is no sound gzip stream.
class ByteSource {
 public:
  explicit ByteSource(const std::string& path);
  ~ByteSource();
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  /// Reads up to `count` bytes; fewer only at the end.
  std::size_t read(std::byte* to, std::size_t count);
  /// More bytes than the file can possibly yield, known without reading them: its size, times the most that deflate can
  /// compress (1032, zlib's technical notes) when it is gzipped.
  std::uint64_t limit() const noexcept;

  [[noreturn]] void fail(const std::string& what) const;

 private:
  struct State;
  std::size_t read_plain(std::byte* to, std::size_t count);
  std::size_t read_gzipped(std::byte* to, std::size_t count);
  void fill();

  std::unique_ptr<State> state_;
};

}  // namespace adjoint::data
