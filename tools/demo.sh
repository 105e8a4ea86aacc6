#!/bin/sh
# The main job from nothing: draws pictures, adapts the bundled backbone to them with two methods,
# measures both on pictures that were not trained on, and classifies one picture.
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
for method in last lite+bias; do
  echo "training with --method $method"
  "$tinytl" train -d "$pictures" -o "$demo/$method.safetensors" --method $method --json $quiet \
    >"$demo/$method.train"
  "$tinytl" eval -a "$demo/$method.safetensors" -d "$pictures" --json $quiet >"$demo/$method.eval"
  rows="$rows$method $(field top1 <"$demo/$method.eval") \
$(field peak_rss_bytes <"$demo/$method.train") $(field seconds <"$demo/$method.train")
"
done

echo
echo "On pictures that were not trained on:"
echo "method     accuracy  peak memory    time"
printf '%s' "$rows" |
  awk '{ printf "%-10s %6.1f %%  %8.1f MB  %4.0f s\n", $1, 100 * $2, $3 / 1e6, $4 }'

picture=$(find "$pictures/test" -name '*.png' | sort | head -n 1)
echo
echo "tinytl predict -a $demo/lite+bias.safetensors --top 3 $picture"
"$tinytl" predict -a "$demo/lite+bias.safetensors" --top 3 "$picture"
