#!/bin/sh
# The main job from nothing: draws pictures, adapts the bundled backbone to them with two methods and
# the sub-net of the bundled super-net that a search picks, measures all on pictures that were not
# trained on, and classifies one picture.
set -eu
cd "$(dirname "$0")/.."

build=${BUILD:-build}
demo=$build/demo
pictures=$demo/pictures
tinytl=$build/tinytl

# field KEY: the number under a key on the last line of JSON Lines
field() {
  tail -n 1 | sed -n "s/.*\"$1\":\\([-+.0-9e]*\\).*/\\1/p"
}

if [ ! -e "$pictures/complete" ]; then
  echo "drawing pictures into $pictures"
  rm -rf "$pictures"
  mkdir -p "$pictures"
  "$build/examples/draw_pictures" "$pictures"
  touch "$pictures/complete"
fi

quiet=
[ -t 2 ] || quiet=-q
rows=

# adapt NAME METHOD [OPTION...]: trains and measures, and adds a row to the table
adapt() {
  name=$1 method=$2
  shift 2
  "$tinytl" train "$@" -d "$pictures" -o "$demo/$name.safetensors" --method "$method" --json $quiet \
    >"$demo/$name.train"
  "$tinytl" eval "$@" -a "$demo/$name.safetensors" -d "$pictures" --json $quiet >"$demo/$name.eval"
  rows="$rows$name $(field top1 <"$demo/$name.eval") \
$(field peak_rss_bytes <"$demo/$name.train") $(field seconds <"$demo/$name.train")
"
}

for method in last lite+bias; do
  echo "training with --method $method"
  adapt $method $method
done
echo "choosing a sub-net of at most 8 million multiply-accumulates, and training it with lite+bias"
"$tinytl" search -d "$pictures" -o "$demo/chosen.safetensors" --max-macs 8 --candidates 32 \
  $quiet >"$demo/search"
adapt sub-net lite+bias -m "$demo/chosen.safetensors"

echo
echo "On pictures that were not trained on:"
echo "method     accuracy  peak memory    time"
printf '%s' "$rows" |
  awk '{ printf "%-10s %6.1f %%  %8.1f MB  %4.0f s\n", $1, 100 * $2, $3 / 1e6, $4 }'

picture=$(find "$pictures/test" -name '*.png' | sort | head -n 1)
echo
echo "tinytl predict -a $demo/lite+bias.safetensors --top 3 $picture"
"$tinytl" predict -a "$demo/lite+bias.safetensors" --top 3 "$picture"
