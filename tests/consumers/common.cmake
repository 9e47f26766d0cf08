# For the scripts beside it: CXX, LAUNCHER, BUILD_TYPE and NM come from the build that runs them.

# The same commands in another build directory may come from the compiler cache.
set(ENV{CCACHE_NOHASHDIR} 1)
set(common_arguments -G Ninja -D CMAKE_CXX_COMPILER=${CXX} -D CMAKE_BUILD_TYPE=${BUILD_TYPE}
                     -D CMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER} -D CMAKE_EXPORT_COMPILE_COMMANDS=ON)

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# The symbols that a shared object defines for others.
function(exported_symbols file result)
  execute_process(COMMAND ${NM} --dynamic --defined-only --demangle ${file} OUTPUT_VARIABLE text
                  COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE ";" "," text "${text}")
  string(REGEX REPLACE "[][]" "|" text "${text}")  # brackets would glue the list's entries together
  string(REGEX REPLACE "\n$" "" text "${text}")
  string(REPLACE "\n" ";" text "${text}")
  list(TRANSFORM text REPLACE "^[0-9a-f]+ . " "")
  if(NOT text)
    message(FATAL_ERROR "${file} exports nothing")
  endif()
  set(${result} ${text} PARENT_SCOPE)
endfunction()
