#pragma once

/// ADJOINT_API marks what a shared build exports; everything else is hidden. A static build exports nothing, so that
/// a program's own shared objects do not re-export adjoint. ADJOINT_EXCEPTION marks exception types: their type
/// information is always visible, or they could not be caught across the border of a shared object.
#if defined(_WIN32)
#  if defined(ADJOINT_SHARED) && defined(ADJOINT_BUILDING)
#    define ADJOINT_API __declspec(dllexport)
#  elif defined(ADJOINT_SHARED)
#    define ADJOINT_API __declspec(dllimport)
#  else
#    define ADJOINT_API
#  endif
#  define ADJOINT_EXCEPTION ADJOINT_API
#else
#  if defined(ADJOINT_SHARED)
#    define ADJOINT_API __attribute__((visibility("default")))
#  else
#    define ADJOINT_API
#  endif
#  define ADJOINT_EXCEPTION __attribute__((visibility("default")))
#endif
