#include <adjoint/io/safetensors.hpp>
#include <adjoint/ops/creation.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <set>

#include <fcntl.h>
#include <unistd.h>

// The format is little-endian, and elements are read and written as they lie in memory.
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "adjoint: safetensors files are read and written on little-endian machines only"
#endif

namespace adjoint::io {

namespace {

constexpr const char* kMetadata = "__metadata__";
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the format's own limit

struct DtypeName {
  Dtype dtype;
  const char* name;
};
constexpr DtypeName kDtypes[] = {{float64, "F64"}, {float32, "F32"}, {int64, "I64"},
                                 {int32, "I32"},   {uint8, "U8"},    {bool_, "BOOL"}};

struct TensorInfo {
  std::string name;
  std::optional<Dtype> dtype;
  Shape shape;
  std::vector<std::uint64_t> offsets;  // where the elements begin and end
};

/// Reads the header's JSON as it is parsed, so that nothing is built that the format does not know, however deep or
/// large it is. A function returns false to stop, with the reason in `problem`.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<TensorInfo> tensors;
  Metadata metadata;
  std::string problem;

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return unexpected("a fraction"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::shape) {
      Shape& shape = current().shape;
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        return fail(about_tensor() + "has a size that is too large");
      if (shape.size() == kMaxRank) return fail(about_tensor() + "has more than " + std::to_string(kMaxRank) + " dims");
      shape.push_back(static_cast<std::int64_t>(value));
      return true;
    }
    if (place_ == Place::offsets) {
      std::vector<std::uint64_t>& offsets = current().offsets;
      if (offsets.size() == 2) return fail(about_tensor() + "has more than two data_offsets");
      offsets.push_back(value);
      return true;
    }
    return unexpected("a number");
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      metadata.back().second = value;
      return true;
    }
    if (place_ != Place::tensor || field_ != "dtype") return unexpected("a string");
    for (const DtypeName& known : kDtypes)
      if (value == known.name) current().dtype = known.dtype;
    if (current().dtype) return true;
    return fail(about_tensor() + "is of dtype " + value.substr(0, 20) +
                "; F64, F32, I64, I32, U8 and BOOL can be read");
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::start) place_ = Place::top;
    else if (place_ == Place::top && name_ == kMetadata) place_ = Place::metadata;
    else if (place_ == Place::top) {
      place_ = Place::tensor;
      tensors.emplace_back();
      current().name = name_;
      fields_.clear();
    } else return unexpected("an object");
    return true;
  }

  bool key(string_t& value) override {
    if (place_ == Place::top) {
      if (!names_.insert(value).second) return fail("the name \"" + shortened(value) + "\" occurs twice");
      name_ = value;
      return true;
    }
    if (place_ == Place::metadata) {
      if (!metadata_names_.insert(value).second) return fail("the metadata \"" + shortened(value) + "\" occur twice");
      metadata.emplace_back(value, "");
      return true;
    }
    field_ = value;
    if (value != "dtype" && value != "shape" && value != "data_offsets")
      return fail(about_tensor() + "has an unknown field \"" + shortened(value) + "\"");
    if (!fields_.insert(value).second) return fail(about_tensor() + "has the field \"" + value + "\" twice");
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) {
      if (fields_.size() != 3) return fail(about_tensor() + "needs the fields dtype, shape and data_offsets");
      if (current().offsets.size() != 2) return fail(about_tensor() + "has less than two data_offsets");
    }
    place_ = place_ == Place::top ? Place::end : Place::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::tensor || field_ == "dtype") return unexpected("an array");
    place_ = field_ == "shape" ? Place::shape : Place::offsets;
    return true;
  }

  bool end_array() override {
    place_ = Place::tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return fail("it is no valid JSON at byte " + std::to_string(position));
  }

 private:
  enum class Place { start, top, metadata, tensor, shape, offsets, end };

  TensorInfo& current() { return tensors.back(); }
  static std::string shortened(const std::string& text) {
    return text.size() <= 60 ? text : text.substr(0, 60) + "...";
  }
  std::string about_tensor() { return "tensor \"" + shortened(current().name) + "\" "; }
  bool fail(std::string text) {
    problem = std::move(text);
    return false;
  }
  bool unexpected(const char* what) {
    switch (place_) {
      case Place::start:
        return fail(std::string("it is ") + what + ", not an object");
      case Place::metadata:
        return fail(std::string("the metadata hold ") + what + "; they are strings");
      case Place::tensor:
        return fail(about_tensor() + "has " + what + " as its " + field_);
      case Place::shape:
      case Place::offsets:
        return fail(about_tensor() + "has " + what + " in its " + field_);
      default:
        return fail("\"" + shortened(name_) + "\" is " + what + ", not an object");
    }
  }

  Place place_ = Place::start;
  std::string name_, field_;
  std::set<std::string> names_, metadata_names_, fields_;
};

// Checks that the elements fill the file's data without gaps or overlaps, and sorts the tensors by their places.
std::string check_places(std::vector<TensorInfo>& tensors, std::uint64_t data_size) {
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) { return a.offsets < b.offsets; });
  std::uint64_t at = 0;
  for (const TensorInfo& tensor : tensors) {
    const std::string which = "tensor \"" + tensor.name.substr(0, 60) + "\" of shape " + to_string(tensor.shape);
    const std::uint64_t begin = tensor.offsets[0], end = tensor.offsets[1];
    const std::string place = "[" + std::to_string(begin) + ", " + std::to_string(end) + ")";
    // Sizes of 0 count as 1 here: the strides of an empty tensor must not overflow, either.
    std::int64_t bytes = static_cast<std::int64_t>(size_of(*tensor.dtype));
    for (const std::int64_t size : tensor.shape)
      if (__builtin_mul_overflow(bytes, std::max<std::int64_t>(size, 1), &bytes)) return which + " is too large";
    if (numel(tensor.shape) == 0) bytes = 0;
    if (end < begin || end - begin != static_cast<std::uint64_t>(bytes))
      return which + " should have " + std::to_string(bytes) + " bytes, its data_offsets " + place + " do not";
    if (end > data_size)
      return which + " lies at " + place + ", but the file has only " + std::to_string(data_size) +
             " bytes of data: it is truncated";
    if (begin != at)
      return which + " lies at " + place + ", which " + (begin < at ? "overlaps another tensor" : "leaves a gap");
    at = end;
  }
  if (at != data_size)
    return "the tensors have " + std::to_string(at) + " bytes, but the file has " + std::to_string(data_size) +
           " bytes of data";
  return {};
}

const void* elements_of(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case Dtype::float32:
      return tensor.data<float>();
    case Dtype::float64:
      return tensor.data<double>();
    case Dtype::int64:
      return tensor.data<std::int64_t>();
    case Dtype::int32:
      return tensor.data<std::int32_t>();
    case Dtype::uint8:
      return tensor.data<std::uint8_t>();
    case Dtype::bool_:
      return tensor.data<bool>();
  }
  return nullptr;
}

const char* safetensors_name(Dtype dtype) {
  for (const DtypeName& known : kDtypes)
    if (known.dtype == dtype) return known.name;
  return "";
}

/// A new file beside `path`, which takes its place on commit() and vanishes otherwise.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path) : path_(path) {
    namespace fs = std::filesystem;
    std::error_code error;
    // Through a link, the file that it leads to is replaced.
    if (fs::is_symlink(path, error)) path_ = fs::canonical(path, error).string();
    if (path_.empty()) throw IoError("save_safetensors: " + path + " is a link that leads nowhere");
    const fs::file_status status = fs::status(path_, error);
    if (fs::exists(status) && !fs::is_regular_file(status))
      throw IoError("save_safetensors: " + path + " exists and is no regular file");
    static std::atomic<unsigned> count{0};
    temporary_ = path_ + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
    file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file_ < 0) fail("cannot create");
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (file_ >= 0) ::close(file_);
    if (!committed_) ::unlink(temporary_.c_str());
  }

  void write(const void* data, std::size_t size) {
    const char* from = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t written = ::write(file_, from, size);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("cannot write");
      from += written;
      size -= static_cast<std::size_t>(written);
    }
  }

  void commit() {
    if (::fsync(file_) != 0) fail("cannot write");
    const int closed = ::close(file_);
    file_ = -1;
    if (closed != 0) fail("cannot write");
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot replace");
    committed_ = true;
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw IoError(std::string("save_safetensors: ") + what + " " + path_ + ": " + std::strerror(errno));
  }

  std::string path_, temporary_;
  int file_ = -1;
  bool committed_ = false;
};

}  // namespace

void save_safetensors(const std::string& path, const StateDict& tensors, const Metadata& metadata) {
  std::vector<Tensor> values;
  for (const auto& [name, tensor] : tensors) values.push_back(tensor);
  eval(values);

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) {
    nlohmann::ordered_json& texts = header[kMetadata];
    for (const auto& [name, text] : metadata) texts[name] = text;
  }
  // Larger elements come first, so that with a header padded to 8 bytes all of them are aligned.
  std::vector<const StateDict::value_type*> order;
  for (const auto& entry : tensors) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return size_of(a->second.dtype()) > size_of(b->second.dtype());
  });
  std::uint64_t at = 0;
  for (const auto* entry : order) {
    const auto& [name, tensor] = *entry;
    if (name == kMetadata) throw ValueError("save_safetensors: no tensor can have the name \"__metadata__\"");
    const std::uint64_t end = at + static_cast<std::uint64_t>(tensor.numel()) * size_of(tensor.dtype());
    header[name] = {{"dtype", safetensors_name(tensor.dtype())},
                    {"shape", std::vector<std::int64_t>(tensor.shape().begin(), tensor.shape().end())},
                    {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    throw ValueError("save_safetensors: the names and metadata must be UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');

  AtomicFile file(path);
  const std::uint64_t size = text.size();
  file.write(&size, sizeof size);
  file.write(text.data(), text.size());
  for (const auto* entry : order) {
    const Tensor& tensor = entry->second;
    file.write(elements_of(tensor), static_cast<std::size_t>(tensor.numel()) * size_of(tensor.dtype()));
  }
  file.commit();
}

StateDict load_safetensors(const std::string& path, Metadata* metadata) {
  const auto fail = [&](const std::string& problem) { throw IoError("load_safetensors: " + path + ": " + problem); };

  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) fail("there is no such file");
  if (!std::filesystem::is_regular_file(status)) fail("it is no regular file");
  const std::uint64_t file_size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file) fail("it cannot be opened");
  const auto read = [&](void* to, std::uint64_t size) {
    if (!file.read(static_cast<char*>(to), static_cast<std::streamsize>(size))) fail("it cannot be read");
  };

  std::uint64_t header_size = 0;
  if (file_size < sizeof header_size) fail("it is truncated: it has " + std::to_string(file_size) + " bytes");
  read(&header_size, sizeof header_size);
  if (header_size > kMaxHeader || header_size > file_size - sizeof header_size)
    fail("it is truncated, or no safetensors file: its header would have " + std::to_string(header_size) +
         " bytes, the file has " + std::to_string(file_size));
  std::string text(static_cast<std::size_t>(header_size), '\0');
  read(text.data(), header_size);
  HeaderReader header;
  if (text.empty() || text[0] != '{') fail("bad header: it does not begin with {");
  if (!nlohmann::json::sax_parse(text, &header)) fail("bad header: " + header.problem);
  const std::string problem = check_places(header.tensors, file_size - sizeof header_size - header_size);
  if (!problem.empty()) fail(problem);

  std::vector<StateDict::value_type> entries;
  std::vector<char> elements;
  for (const TensorInfo& tensor : header.tensors) {
    elements.resize(static_cast<std::size_t>(tensor.offsets[1] - tensor.offsets[0]));
    read(elements.data(), elements.size());
    if (tensor.dtype == bool_ && std::any_of(elements.begin(), elements.end(), [](char c) { return c != 0 && c != 1; }))
      fail("tensor \"" + tensor.name + "\" is BOOL but has a byte that is neither 0 nor 1");
    entries.emplace_back(tensor.name, adjoint::detail::copy_in(elements.data(), tensor.shape, *tensor.dtype));
  }
  if (metadata) *metadata = std::move(header.metadata);
  return StateDict(std::move(entries));
}

}  // namespace adjoint::io
