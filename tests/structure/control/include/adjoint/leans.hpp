#pragma once

inline std::string answer() { return "42"; }
