#!/bin/sh
# no_avx.sh QEMU TINYTL DRAW_PICTURES: on a processor without AVX the portable kernels run, and make the same adapter as
# they do here.
set -eu

qemu=$1
tinytl=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
draw=$(cd "$(dirname "$3")" && pwd)/$(basename "$3")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$draw" pictures 2 1 >/dev/null
"$tinytl" init mobilenet-v2-0.1 --classes 3 -o backbone.safetensors >/dev/null
train="train -m backbone.safetensors -d pictures --image-size 32 --epochs 1 --threads 1 -q"

"$qemu" -cpu Nehalem "$tinytl" --version | grep 'kernels: portable'
# shellcheck disable=SC2086
"$qemu" -cpu Nehalem "$tinytl" $train -o without.safetensors >/dev/null
# shellcheck disable=SC2086
TINYTL_KERNELS=portable "$tinytl" $train -o here.safetensors >/dev/null
cmp without.safetensors here.safetensors
echo "the same adapter"
