# What a folder of strangers may hold, model files that change while they are in use, and little of everything.
train="tinytl train -o out.safetensors --image-size 32 --epochs 1 --threads 1 -q"
picture=$(find "$fixtures/pictures/train" -name '*.png' | sort | head -n 1)
mkdir -p odd/ants odd/bees
cp "$picture" odd/ants/1.png
cp "$picture" odd/ants/1.PNG
cp "$picture" odd/bees/2.png
mkfifo odd/ants/pipe.jpg
mkdir odd/ants/folder.png
ln -s loop.png odd/ants/loop.png
ln -s nowhere odd/ants/nowhere.png
ln -s /dev/zero odd/ants/zero.png
ln -s . odd/ants/here
ln -s ../bees/2.png odd/ants/linked.png
printf '\377\330\377\340' >odd/bees/short.jpg
cp "$picture" "odd/bees/$(printf 'caf\351\n\t\033[1m').png"
run sh -c "$train -d odd --method last --json | tail -n 1 | json_check classes train_images val_images skipped"
tinytl predict -a out.safetensors odd/ants/pipe.jpg odd/ants/loop.png odd/ants/zero.png odd/bees/caf*.png 2>&1 |
  cut -f 1
# A class folder may be a link, but one to the folder of all classes holds no pictures.
ln -s . odd/round
run $train -d odd --method last
rm odd/round
# Classes that differ in case are two.
cp -r odd/ants odd/Ants
$train -d odd --method last --json 2>/dev/null | tail -n 1 | json_check classes
# Every folder linked to from every other: each is read once. There are more ways through them than time.
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do
  mkdir -p web/$i
  cp "$picture" web/$i/
  for j in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do ln -s ../$j web/$i/to$j; done
done
tinytl eval -a "$fixtures/adapter.safetensors" -d "$fixtures/pictures" --unknown web --json 2>&1 |
  json_check unknown_images unknown_skipped

# Removed or replaced by another, a model file that is in use stays what it was.
cp "$TINYTL_MODEL" mine.safetensors
train="tinytl train -d $fixtures/pictures --method bias --image-size 32 --threads 1 -q"
$train -o whole.safetensors --epochs 8 >/dev/null
in_use() {
  $train -m mine.safetensors -o new.safetensors --checkpoint run.ckpt --checkpoint-every 0 "$@" >/dev/null 2>messages &
  pid=$!
  while [ ! -s run.ckpt ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
}
in_use --epochs 8
cp "$fixtures/other.safetensors" another
mv another mine.safetensors
code=0
wait $pid || code=$?
echo "exit $code"
cmp new.safetensors whole.safetensors && echo "the same adapter"
# Cut short it cannot be read any more. It was a bus error.
cp "$TINYTL_MODEL" mine.safetensors
rm new.safetensors
in_use --epochs 10000
: >mine.safetensors
code=0
wait $pid || code=$?
echo "exit $code"
cat messages
ls -A | grep 'new\|ckpt'
# The same while it predicts.
cp "$TINYTL_MODEL" mine.safetensors
for i in $(seq 2000); do echo "$picture"; done >many
# shellcheck disable=SC2046
tinytl predict -m mine.safetensors -a "$fixtures/adapter.safetensors" --json $(cat many) >out 2>messages &
pid=$!
while [ ! -s out ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
: >mine.safetensors
code=0
wait $pid || code=$?
echo "exit $code"
cat messages
rm many out

# On one core and with the least priority: the same bytes.
if command -v taskset >/dev/null; then one_core="taskset 1"; else one_core=; fi
$one_core nice -n 19 $train -o new.safetensors --epochs 8 --threads 3 >/dev/null
cmp new.safetensors whole.safetensors && echo "the same adapter"
# Where address space ends it is said, whatever it was wanted for. The address sanitizer needs all of it.
if ! ASAN_OPTIONS=help=1 tinytl --version 2>&1 | grep -q AddressSanitizer; then
  for kilobytes in 6000 8000 10000 12000 14000 16000 20000 30000; do
    (
      ulimit -v $kilobytes
      exec tinytl train -d "$fixtures/pictures" -o new.safetensors --image-size 32 --epochs 1 --threads 2 -q
    ) >/dev/null 2>messages
    code=$?
    [ $code = 0 ] || { [ $code = 1 ] && grep -q 'out of memory\|cannot start thread\|cannot allocate' messages; } ||
      echo "$kilobytes KB: exit $code: $(cat messages)"
  done
fi

# Opening a model file keeps to the limit too, whatever its header asks for. It took 45 MB.
awk 'BEGIN {
  text = "{\"__metadata__\":{\"tinytl.format\":\"backbone 1\"},\"x\":[0"
  for (i = 0; i < 65536; i++) pieces = pieces ",\"\""
  n = length(text) + 3 * 65536 + 2
  printf "%c%c%c%c%c%c%c%c", n % 256, int(n / 256) % 256, int(n / 65536), 0, 0, 0, 0, 0
  printf "%s%s]}", text, pieces
}' >strings.safetensors
numbers() {
  sed 's/[0-9][0-9.]* MB/N MB/g'
}
run $train -m strings.safetensors -o no.safetensors --memory-limit 8M | numbers
run tinytl search -m strings.safetensors -d "$fixtures/pictures" -o no.safetensors --memory-limit 8M -q | numbers
run tinytl train -m strings.safetensors -d "$fixtures/pictures" -o no.safetensors -q
head -c 9000000 /dev/zero | run sh -c "tinytl train -m /dev/stdin -d $fixtures/pictures -o no.safetensors --memory-limit 8M -q"
