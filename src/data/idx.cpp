#include <adjoint/data/idx.hpp>

#include "data/byte_source.hpp"
#include "data/host.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace adjoint::data {

namespace {

enum class Element : unsigned char {
  uint8 = 0x08,
  int8 = 0x09,
  int16 = 0x0b,
  int32 = 0x0c,
  float32 = 0x0d,
  float64 = 0x0e
};

bool is_element(unsigned char code) { return code >= 0x08 && code <= 0x0e && code != 0x0a; }

std::size_t stored_size(Element element) {
  switch (element) {
    case Element::uint8:
    case Element::int8:
      return 1;
    case Element::int16:
      return 2;
    case Element::int32:
    case Element::float32:
      return 4;
    case Element::float64:
      break;
  }
  return 8;
}

Dtype dtype_of_element(Element element) {
  switch (element) {
    case Element::uint8:
      return uint8;
    case Element::int8:
    case Element::int16:
    case Element::int32:
      return int32;
    case Element::float32:
      return float32;
    case Element::float64:
      break;
  }
  return float64;
}

std::uint64_t big_endian(const std::byte* bytes, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  return value;
}

/// Decodes big-endian elements of one stored type into a tensor's elements.
template <class Stored, class Bits, class T>
void decode(const std::vector<std::byte>& from, T* to) {
  for (std::size_t i = 0; i * sizeof(Stored) < from.size(); ++i) {
    const Bits bits = static_cast<Bits>(big_endian(from.data() + i * sizeof(Stored), sizeof(Stored)));
    Stored value;
    std::memcpy(&value, &bits, sizeof value);
    to[i] = value;
  }
}

std::string hex(const std::byte* bytes, std::size_t count) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = std::to_integer<unsigned>(bytes[i]);
    text += {digits[value >> 4], digits[value & 15], ' '};
  }
  if (!text.empty()) text.pop_back();
  return text;
}

}  // namespace

class IdxReader::File {
 public:
  explicit File(const std::string& path) : source(path) {
    std::byte start[4];
    const std::size_t got = source.read(start, 4);
    const auto code = got == 4 ? std::to_integer<unsigned char>(start[2]) : static_cast<unsigned char>(0);
    if (got < 4 || start[0] != std::byte{0} || start[1] != std::byte{0} || !is_element(code))
      source.fail("is no IDX file: it begins with the bytes '" + hex(start, got) +
                  "'; expected 00 00, a type of 08 09 0b 0c 0d or 0e, and the number of dims");
    element = static_cast<Element>(code);
    const int rank = std::to_integer<int>(start[3]);
    if (rank < 1 || rank > kMaxRank)
      source.fail("announces " + std::to_string(rank) + " dims; expected 1 to " + std::to_string(kMaxRank));
    std::uint64_t elements = 1;
    for (int i = 0; i < rank; ++i) {
      std::byte size[4];
      if (source.read(size, 4) < 4) source.fail("is truncated within its header of " + std::to_string(rank) + " dims");
      shape.push_back(static_cast<std::int64_t>(big_endian(size, 4)));
      // Sizes are below 2^32; cut off far above what a file holds, before the product can overflow.
      elements = std::min<std::uint64_t>(elements, UINT64_MAX >> 32) * static_cast<std::uint64_t>(shape.back());
    }
    const std::uint64_t most = source.limit();
    if (elements > most / stored_size(element))
      source.fail("announces " + to_string(shape) + " elements of " + std::to_string(stored_size(element)) +
                  " bytes; a file of its size holds at most " + std::to_string(most) + " bytes");
    bytes = static_cast<std::size_t>(elements) * stored_size(element);
  }

  /// The bytes behind the header, all of them and no more.
  std::vector<std::byte> read_elements() {
    constexpr std::size_t kFirstPart = 1 << 20;
    std::vector<std::byte> result;
    for (std::size_t done = 0; done < bytes;) {
      const std::size_t goal = std::min(bytes, std::max(kFirstPart, 2 * done));
      result.reserve(goal);
      result.resize(goal);
      const std::size_t got = source.read(result.data() + done, goal - done);
      done += got;
      if (done < goal)
        source.fail("is truncated: it announces " + to_string(shape) + ", " + std::to_string(bytes) +
                    " bytes of elements, and holds " + std::to_string(done));
    }
    std::byte more;
    if (source.read(&more, 1) != 0)
      source.fail("has bytes behind the " + std::to_string(bytes) + " of the " + to_string(shape) +
                  " elements that it announces");
    return result;
  }

  ByteSource source;
  Element element = Element::uint8;
  Shape shape;
  std::size_t bytes = 0;
  bool was_read = false;
};

IdxReader::IdxReader(const std::string& path) : file_(std::make_unique<File>(path)) {}
IdxReader::IdxReader(IdxReader&& other) noexcept = default;
IdxReader& IdxReader::operator=(IdxReader&& other) noexcept = default;
IdxReader::~IdxReader() = default;

const Shape& IdxReader::shape() const noexcept { return file_->shape; }
Dtype IdxReader::dtype() const noexcept { return dtype_of_element(file_->element); }

IdxReader& IdxReader::expect(Dtype wanted_dtype, const Shape& wanted) & {
  bool fits = dtype() == wanted_dtype && shape().size() == wanted.size();
  for (int i = 0; fits && i < wanted.size(); ++i) fits = wanted[i] == -1 || wanted[i] == shape()[i];
  if (!fits)
    file_->source.fail(std::string("holds ") + name_of(dtype()) + " " + to_string(shape()) + "; expected " +
                       name_of(wanted_dtype) + " " + to_string(wanted) + " (-1: any size)");
  return *this;
}
IdxReader IdxReader::expect(Dtype wanted_dtype, const Shape& wanted) && {
  expect(wanted_dtype, wanted);
  return std::move(*this);
}

Tensor IdxReader::read() {
  if (file_->was_read) file_->source.fail("has been read by this IdxReader; make another one to read it again");
  file_->was_read = true;
  std::vector<std::byte> stored = file_->read_elements();
  if (file_->element == Element::uint8) {
    auto owned = std::make_unique<std::vector<std::byte>>(std::move(stored));
    Tensor result = from_blob(reinterpret_cast<std::uint8_t*>(owned->data()), shape(),
                              [bytes = owned.get()](std::uint8_t*) { delete bytes; });
    owned.release();
    return result;
  }
  HostBuffer buffer(static_cast<std::size_t>(numel(shape())) * size_of(dtype()));
  switch (file_->element) {
    case Element::int8:
      decode<std::int8_t, std::uint8_t>(stored, reinterpret_cast<std::int32_t*>(buffer.data()));
      break;
    case Element::int16:
      decode<std::int16_t, std::uint16_t>(stored, reinterpret_cast<std::int32_t*>(buffer.data()));
      break;
    case Element::int32:
      decode<std::int32_t, std::uint32_t>(stored, reinterpret_cast<std::int32_t*>(buffer.data()));
      break;
    case Element::float32:
      decode<float, std::uint32_t>(stored, reinterpret_cast<float*>(buffer.data()));
      break;
    case Element::float64:
      decode<double, std::uint64_t>(stored, reinterpret_cast<double*>(buffer.data()));
      break;
    case Element::uint8:
      break;
  }
  return std::move(buffer).to_tensor(shape(), dtype());
}

}  // namespace adjoint::data
