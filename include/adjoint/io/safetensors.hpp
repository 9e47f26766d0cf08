// Files in the safetensors format (https://github.com/huggingface/safetensors): a length, a header in JSON that gives
// the names, dtypes, shapes and places of the tensors, and their elements.
#pragma once

#include <adjoint/io/state_dict.hpp>

#include <string>
#include <utility>
#include <vector>

namespace adjoint::io {

/// Free text that a file carries beside its tensors.
using Metadata = std::vector<std::pair<std::string, std::string>>;

/// Writes tensors of any dtype, computing them first. The file appears at `path` complete or, when anything fails, not
/// at all: what was there before stays. Throws IoError when the file cannot be written or is no regular file, ValueError for a name that is
/// "__metadata__" or not UTF-8.
ADJOINT_API void save_safetensors(const std::string& path, const StateDict& tensors, const Metadata& metadata = {});

/// Reads a file of F64, F32, I64, I32, U8 and BOOL tensors, in the order of their places. Everything that the file
/// claims is checked before any tensor is allocated, so it need not be trusted. Throws IoError when it is missing,
/// unreadable, truncated, not in the format, or holds tensors of another dtype or of more than kMaxRank dims.
ADJOINT_API StateDict load_safetensors(const std::string& path, Metadata* metadata = nullptr);

}  // namespace adjoint::io
