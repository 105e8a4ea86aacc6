# Answers that are unknown: the threshold in the adapter, what predict makes of it, what eval measures.
pictures=$fixtures/pictures
one=$(find "$pictures/test" -name '*.png' | sort | head -n 1)
# The first seed whose threshold is a number of several digits, in whose place others can be written.
for seed in 1 2 3 4 5 6 7 8 9; do
  tinytl train -d "$pictures" -o mine.safetensors --method last $small --epochs 60 --seed $seed >/dev/null
  found=$(LC_ALL=C sed -n 's/.*"tinytl.reject_below":"\([^"]*\)".*/\1/p' mine.safetensors | tr -d '\0')
  [ ${#found} -lt 4 ] || break
done
tinytl info mine.safetensors | grep -c '^temperature  *[0-9.]*$\|^unknown  *below a score of [0-9.-]*$'

# Without validation pictures there is none.
tinytl train -d "$pictures" -o none.safetensors --method last --val-split 0 $small >/dev/null
tinytl info none.safetensors --json | json_check temperature reject_below
tinytl info none.safetensors | grep -c '^unknown'
run tinytl predict --reject -a none.safetensors "$one"
run tinytl predict --reject "$one"
tinytl eval -a none.safetensors -d "$pictures" --json |
  json_check temperature reject_below right_kept wrong_rejected unknown_images auroc
tinytl eval -a none.safetensors -d "$pictures" | grep -c '^unknown\|^others'

# The same adapter with a threshold that no score reaches, and with one that all do.
threshold=$(tinytl info mine.safetensors --json | json_check reject_below)
with_threshold() {
  LC_ALL=C sed "s/\(\"tinytl.reject_below\":\"\)[^\"]*/\1$1/" mine.safetensors
}
digits=$(echo "$found" | sed 's/./9/g; s/^.//') # as long in all, as the header's length stands before it
with_threshold "$(echo "$digits" | sed 's/9$/e1/')" >none_reaches.safetensors
with_threshold "-$digits" >all_reach.safetensors
hide='s/[01]\.[0-9]*/P/g; s/[a-z]*_[a-z]*\|primrose\|clematis\|gazania\|clam\|cockle/CLASS/g; s/[0-9] "/N "/'
for adapter in none_reaches all_reach; do
  tinytl predict --reject -a $adapter.safetensors "$one" | cut -f 2- | sed "$hide"
  tinytl predict --reject --top 2 -a $adapter.safetensors "$one" | cut -f 2- | sed "$hide"
  tinytl predict --reject --json -a $adapter.safetensors "$one" | json_check unknown index class | sed "$hide"
  tinytl predict --json -a $adapter.safetensors "$one" | json_check unknown score
  tinytl eval -a $adapter.safetensors -d "$pictures" --unknown "$pictures/train" --json |
    json_check right_kept wrong_rejected unknown_images unknown_skipped unknown_rejected
done
# As it was trained: what is unknown scores lower.
find "$pictures" -name '*.png' -exec tinytl predict --reject --json -a mine.safetensors {} + |
  json_check unknown score |
  awk -v threshold="$threshold" '{ n += ($1 == "true") == ($2 < threshold) } END { print n }'

# Any nesting of folders, links too; what is no picture is passed over, what is damaged left out.
mkdir -p other/deep/deeper/.hidden
cp "$one" other/one.PNG
cp "$one" other/deep/deeper/two.png
cp "$one" other/deep/deeper/.hidden/three.png
ln -s "$pictures/test" other/deep/linked
ln -s .. other/deep/round
ln -s nowhere other/deep/broken
ln -s nowhere other/deep/broken.jpg
echo "no picture" >other/notes.txt
echo "no picture" >other/text.jpg
tinytl eval -a mine.safetensors -d "$pictures" --unknown other --json 2>notes |
  json_check unknown_images unknown_skipped
sort notes
# The pictures themselves cannot be told from themselves.
tinytl eval -a mine.safetensors -d "$pictures" --unknown "$pictures/test" --json | json_check auroc
mkdir empty
run tinytl eval -a mine.safetensors -d "$pictures" --unknown empty
run tinytl eval -a mine.safetensors -d "$pictures" --unknown nowhere
run tinytl eval -a mine.safetensors -d "$pictures" --unknown "$one"
# A class of that name: in text it could not be told from what is rejected.
cp -r "$pictures/train" named
mv "named/$(ls named | head -n 1)" named/unknown
tinytl train -d named -o named.safetensors --method last $small >/dev/null
run tinytl predict --reject -a named.safetensors "$one"
show tinytl predict --reject --json -a named.safetensors "$one"
show tinytl predict -a named.safetensors "$one"
