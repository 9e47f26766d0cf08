#!/usr/bin/env bash
# headers.sh COMPILER STANDARD INCLUDE_DIRECTORY [HEADER...]: compiles each header alone, with warnings as errors.
# Without names: every header of adjoint but xtensor.hpp.
set -euo pipefail
compiler=$1 standard=$2 include=$3
shift 3
if [[ $# == 0 ]]; then
  mapfile -t headers < <(cd "$include" && find adjoint -name '*.hpp' ! -path adjoint/xtensor.hpp | sort)
  set -- "${headers[@]}"
fi

failures=0
for header; do
  # Twice: a second inclusion does no harm.
  printf '#include <%s>\n#include <%s>\n' "$header" "$header" |
    "$compiler" -std=c++"$standard" -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I "$include" -x c++ - || {
    echo "FAILED: $header" >&2
    failures=$((failures + 1))
  }
done
echo "$# headers, $failures failures"
[[ $# -gt 0 && $failures == 0 ]]
