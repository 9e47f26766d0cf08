// What a function throws, as text.
#pragma once

#include <adjoint/error.hpp>

#include <string>

template <class Function>
std::string message_of(const Function& function) {
  try {
    function();
  } catch (const adjoint::Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}
