# How our own targets are compiled. Nothing here is global: a project that adds adjoint as a subdirectory keeps its flags.

# Warnings, sanitizers and visibility for a target of ours.
function(adjoint_target_options target)
  target_compile_features(${target} PUBLIC cxx_std_17)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden
                        VISIBILITY_INLINES_HIDDEN ON POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
                         $<$<BOOL:${ADJOINT_WERROR}>:-Werror>)
  if(ADJOINT_SANITIZE)
    # With a sanitizer's instructions GCC 12 warns of uninitialised values inside the standard library.
    target_compile_options(${target} PRIVATE -fsanitize=${ADJOINT_SANITIZE} -fno-omit-frame-pointer
                           -Wno-maybe-uninitialized)
    target_link_options(${target} PRIVATE -fsanitize=${ADJOINT_SANITIZE})
    if(ADJOINT_SANITIZE STREQUAL "undefined")
      target_compile_options(${target} PRIVATE -fno-sanitize-recover=all)
    endif()
  endif()
endfunction()

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(ADJOINT_CCACHE ccache)
  mark_as_advanced(ADJOINT_CCACHE)
  if(ADJOINT_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${ADJOINT_CCACHE})
  endif()
endif()
