# Sourced by the scripts beside it: installs what is missing, configures a preset, and builds targets of it.

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)

# Lets the tests' builds of the same sources in other directories take the compiler cache's objects of this one.
export CCACHE_NOHASHDIR=1

# quietly LOG COMMAND...: the command's output goes to a file, and is shown only when it fails.
quietly() {
  local log=$1
  shift
  "$@" > "$log" 2>&1 < /dev/null || { local status=$?; cat "$log" >&2; return "$status"; }
}

# build PRESET [TARGET...]: the default target when none is named. Two scripts may run at once: the second one waits.
build() {
  local preset=$1 directory=$root/build/$1
  shift
  "$root/scripts/setup"
  mkdir -p "$directory"
  (
    flock 9
    cd "$root"
    [[ -e $directory/build.ninja ]] || echo "building into build/$preset; the first time takes some minutes" >&2
    quietly "$directory/configure.log" cmake --preset "$preset"
    quietly "$directory/build.log" cmake --build "$directory" --parallel "$(nproc)" ${1+--target "$@"}
  ) 9> "$directory/.lock"
}
