#!/bin/sh
# run.sh [--update] TINYTL DRAW_PICTURES JSON_CHECK [CASE]: runs every script of cases/ (or the one) in a folder of its
# own and compares what it prints with the .expected file beside it; --update writes that file.
#
# A script uses these:
#   run COMMAND...     prints the command, what it writes to stdout and stderr, and its exit code
#   show COMMAND...    the same without what it writes
#   $fixtures          backbone.safetensors (random weights), other.safetensors (another backbone),
#                      adapter.safetensors, pictures/{train,test}: ten classes, drawn
#   $small             options that keep training short
set -eu

update=false
if [ "$1" = --update ]; then
  update=true
  shift
fi
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/bin" "$work/fixtures"
for program in "$1" "$2" "$3"; do
  ln -s "$(cd "$(dirname "$program")" && pwd)/$(basename "$program")" "$work/bin/"
done
PATH=$work/bin:$PATH
fixtures=$work/fixtures
small="--image-size 32 --epochs 2 --threads 1 -q"
TINYTL_MODEL=$fixtures/backbone.safetensors
LC_ALL=C
unset NO_COLOR
export PATH fixtures small TINYTL_MODEL LC_ALL here

run() {
  echo "\$ $*"
  code=0
  "$@" 2>&1 || code=$?
  echo "exit $code"
  echo
}
show() {
  echo "\$ $*"
  code=0
  "$@" >/dev/null 2>&1 || code=$?
  echo "exit $code"
  echo
}

tinytl init mobilenet-v2-0.1 --classes 3 -o "$TINYTL_MODEL" >/dev/null
tinytl init mobilenet-v2-0.1 --classes 3 --seed 1 -o "$fixtures/other.safetensors" >/dev/null
draw_pictures "$fixtures/pictures" 5 2 >/dev/null
# shellcheck disable=SC2086
tinytl train -d "$fixtures/pictures" -o "$fixtures/adapter.safetensors" --method last $small \
  >/dev/null

n_failed=0
for script in "$here"/cases/${4:-*}.sh; do
  name=$(basename "$script" .sh)
  mkdir "$work/$name"
  (
    set +e
    cd "$work/$name"
    # shellcheck source=/dev/null
    . "$script"
  ) </dev/null 2>&1 | sed -e "s#$fixtures#FIXTURES#g" -e "s/[0-9a-f]\{64\}/SHA256/g" >"$work/$name.found" || true
  if $update; then
    cp "$work/$name.found" "$here/cases/$name.expected"
  elif ! diff -u "$here/cases/$name.expected" "$work/$name.found"; then
    echo "FAILED: $name"
    n_failed=$((n_failed + 1))
  fi
done
[ "$n_failed" = 0 ] || exit 1
echo "all cases passed"
