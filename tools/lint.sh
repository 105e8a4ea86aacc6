#!/bin/sh
# lint.sh BUILD [JOBS]: clang-tidy (.clang-tidy, the clang static analyser included) over what BUILD compiles of src, cli
# and examples, and cppcheck (tools/cppcheck.txt). Says what they find; exit code 1 where that is anything.
set -eu

build=$1
jobs=${2:-1}
code=0
# A process a file: clang-tidy 14 crashes over several.
git ls-files 'src/*.c' 'cli/*.c' 'examples/*.c' | xargs -P "$jobs" -n 1 clang-tidy -p "$build" --quiet 2>/dev/null || code=1
cppcheck --quiet -j "$jobs" --std=c11 --enable=warning,performance,portability --max-configs=1 --error-exitcode=1 \
  --suppressions-list=tools/cppcheck.txt -Iinclude -Isrc -D__x86_64__ -D__linux__ src cli examples || code=1
exit $code
