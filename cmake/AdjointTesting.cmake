# adjoint_add_test(NAME COMMAND ... [LABELS ...]): add_test with what every test of ours needs. Tests labelled `slow` run
# with `scripts/test --slow` only.
function(adjoint_add_test name)
  cmake_parse_arguments(ARG "" "" "COMMAND;LABELS" ${ARGN})
  add_test(NAME ${name} COMMAND ${ARG_COMMAND})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 300)
  if("slow" IN_LIST ARG_LABELS)
    set_tests_properties(${name} PROPERTIES TIMEOUT 1800)
  endif()
  # Two tests run at a time: threads that wait must not spin on a core that another one needs.
  set(environment OMP_WAIT_POLICY=passive)
  if(ADJOINT_SANITIZE STREQUAL "address")
    list(APPEND environment ASAN_OPTIONS=detect_leaks=1)
  elseif(ADJOINT_SANITIZE STREQUAL "undefined")
    list(APPEND environment UBSAN_OPTIONS=print_stacktrace=1)
  elseif(ADJOINT_SANITIZE STREQUAL "thread")
    # The sanitizer does not know libgomp and reports races in correct loops: teams of one thread.
    list(APPEND environment OMP_NUM_THREADS=1 OMP_THREAD_LIMIT=1)
  endif()
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "${environment}")
endfunction()
