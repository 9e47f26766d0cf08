#pragma once

#include <adjoint/export.hpp>

#include <stdexcept>
#include <string>

namespace adjoint {

/// The base of everything that adjoint throws. The message names the operation, the argument, the shapes and dtypes,
/// and what would have been right; inside a network it begins with the layer's path, e.g. "encoder.0.up: ...".
class ADJOINT_EXCEPTION Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  const char* what() const noexcept override { return text_.empty() ? std::runtime_error::what() : text_.c_str(); }

  /// The path of the module in which the error arose, e.g. "layers.0"; empty outside of modules.
  const std::string& module_path() const noexcept { return path_; }

  /// Puts a module's name before the path. Called while the exception passes through the modules, unless the whole
  /// path is known.
  void prepend_module(const std::string& name) {
    if (is_located_ || name.empty()) return;
    path_ = path_.empty() ? name : name + "." + path_;
    text_ = path_ + ": " + std::runtime_error::what();
  }
  /// Gives the whole path, of the module that recorded what failed only when computed.
  void set_module_path(const std::string& path) {
    path_.clear();
    is_located_ = false;
    prepend_module(path);
    is_located_ = true;
  }

 private:
  std::string path_, text_;
  bool is_located_ = false;
};

/// Shapes, ranks or dims that do not fit.
class ADJOINT_EXCEPTION ShapeError : public Error {
  using Error::Error;
};
/// Dtypes that do not fit.
class ADJOINT_EXCEPTION DtypeError : public Error {
  using Error::Error;
};
/// Arguments whose values do not fit, such as a label outside of its classes.
class ADJOINT_EXCEPTION ValueError : public Error {
  using Error::Error;
};
/// Differentiation that is not possible, or not permitted.
class ADJOINT_EXCEPTION AutogradError : public Error {
  using Error::Error;
};
/// Files that are missing, unreadable, truncated, or not what they claim to be.
class ADJOINT_EXCEPTION IoError : public Error {
  using Error::Error;
};

}  // namespace adjoint
