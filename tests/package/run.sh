#!/bin/sh
# run.sh BUILD_DIR: installs the build into a fresh prefix and builds examples/adapt.c against
# that copy, once with pkg-config and once with CMake's find_package. Every header compiles alone.
set -eu

build=$1
here=$(cd "$(dirname "$0")" && pwd)
example=$here/../../examples/adapt.c
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: "${CC:=cc}" "${CFLAGS:=}" "${CMAKE:=cmake}"

"$CMAKE" --install "$build" --prefix "$work/prefix" >"$work/log"
pc=$(find "$work/prefix" -name tinytl.pc)
library=$(dirname "$(dirname "$pc")")
PKG_CONFIG_PATH=$(dirname "$pc")${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
LD_LIBRARY_PATH=$library
export PKG_CONFIG_PATH LD_LIBRARY_PATH

# shellcheck disable=SC2046,SC2086
"$CC" $CFLAGS "$example" $(pkg-config --cflags --libs tinytl) -o "$work/with_pkg_config"

# shellcheck disable=SC2046,SC2086
for header in tinytl.h $(cd "$work/prefix/include" && ls tinytl/*.h); do
  printf '#include <%s>\nint unused;\n' "$header" >"$work/header.c"
  "$CC" $CFLAGS -std=c99 -pedantic-errors -fsyntax-only "$work/header.c" $(pkg-config --cflags tinytl)
done

"$CMAKE" -S "$here" -B "$work/cmake" -DEXAMPLE="$example" -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCMAKE_C_COMPILER="$CC" -DCMAKE_C_FLAGS="$CFLAGS" >>"$work/log"
"$CMAKE" --build "$work/cmake" >>"$work/log"

# Without arguments the example prints how it is used: exit code 2.
for program in "$work/with_pkg_config" "$work/cmake/adapt"; do
  code=0
  "$program" 2>/dev/null || code=$?
  [ "$code" = 2 ] || { echo "$program: exit code $code, expected 2" >&2; exit 1; }
done

[ "$("$work/prefix/bin/tinytl" --version | cut -d' ' -f2)" = "$(pkg-config --modversion tinytl)" ] ||
  { echo "the program and the package disagree on the version" >&2; exit 1; }
