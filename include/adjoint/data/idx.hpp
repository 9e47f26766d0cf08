#pragma once

#include <adjoint/tensor.hpp>

#include <memory>
#include <string>

namespace adjoint::data {

/// Reads an IDX file, the format of MNIST and its relatives, plain or gzipped: two zero bytes, a byte for the type of
/// the elements, a byte for the number of dims, the sizes as big-endian 32-bit integers, the elements row-major and
/// big-endian (LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist/).
///
/// Everything that is wrong with a file throws IoError with the file's name and what was expected: missing, unreadable,
/// truncated, corrupt, no IDX file, sizes that disagree with the number of bytes. No memory is reserved on the word of
/// a header: it grows with the bytes that the file really yields.
class ADJOINT_API IdxReader {
 public:
  /// Opens the file and reads its header.
  explicit IdxReader(const std::string& path);
  IdxReader(IdxReader&& other) noexcept;
  IdxReader& operator=(IdxReader&& other) noexcept;
  ~IdxReader();

  const Shape& shape() const noexcept;
  /// uint8, int32, float32 or float64; signed bytes and 16-bit integers are read as int32.
  Dtype dtype() const noexcept;

  /// Throws IoError unless the header announces this dtype and this shape, in which -1 stands for any size.
  IdxReader& expect(Dtype dtype, const Shape& shape) &;
  IdxReader expect(Dtype dtype, const Shape& shape) &&;

  /// The elements. May be called once; then throws IoError.
  Tensor read();

 private:
  class File;
  std::unique_ptr<File> file_;
};

}  // namespace adjoint::data
