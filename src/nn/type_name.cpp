#include "nn/type_name.hpp"

#include <cstdlib>
#include <memory>

#if __has_include(<cxxabi.h>)
#include <cxxabi.h>
#endif

namespace adjoint::nn {

std::string type_name(const std::type_info& type) {
  std::string name = type.name();
#if __has_include(<cxxabi.h>)
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status),
                                                         &std::free);
  if (status == 0) name = text.get();
#endif
  // From the last "::" outside of brackets on, up to the arguments of a template.
  std::size_t begin = 0, end = name.size();
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    if (c == '<' && depth == 0) end = i;
    if (c == '<' || c == '(' || c == '{') ++depth;
    else if (c == '>' || c == ')' || c == '}') --depth;
    else if (c == ':' && depth == 0) {
      begin = i + 1;
      end = name.size();
    }
  }
  return name.substr(begin, end - begin);
}

}  // namespace adjoint::nn
