# --method auto, the default: what it tries, keeps and says. Which methods pay is for the pictures to say, and may differ
# between kernel sets: only what must hold is looked at.
train="tinytl train -d $fixtures/pictures --image-size 32 --epochs 2"
steps() {
  grep '"event":"step"'
}
$train -o one.safetensors --threads 1 --json >events 2>messages
json_check event <events | sort -u
steps <events | head -n 1 | json_check method tried gain noise kept reason
# Methods grow, with bias again where mirroring does no harm; all but the last one that was tried are kept, and the adapter is
# that of the last kept one.
steps <events | json_check method | tr -d '"\n-' | grep -cxE 'lastbias|lastbias(bias)?lite\+bias'
steps <events | sed '$d' | json_check kept | grep -c false
kept=$(steps <events | grep '"kept":true' | tail -n 1 | json_check method val_top1)
[ "$kept" = "$(tail -n 1 events | json_check method val_top1)" ] && echo "the adapter is of the last method that was kept"
[ "$(tail -n 1 events | json_check method)" = "$(tinytl info one.safetensors --json | json_check method)" ] && echo "and says so"
# Every step is told to people too.
[ "$(steps <events | wc -l)" = "$(grep -c 'tinytl: .*validation [0-9.]* %' messages)" ] && echo "told"
$train -o three.safetensors --threads 3 -q >/dev/null
cmp one.safetensors three.safetensors && echo "the same adapter with three threads"

# Without validation pictures there is nothing to choose by: the largest method.
$train -o none.safetensors --val-split 0 --json >events 2>messages
json_check event <events | sort -u
tail -n 1 events | json_check method mirror val_top1
grep 'mirrored' messages

# A method that does not fit is not tried, and it is said.
# At 224 pixels bias takes half a MB more than last. What a process holds before differs from run to
# run, so the limit grows in small steps until last fits.
train="tinytl train -d $fixtures/pictures --image-size 224 --epochs 1"
tinytl init mobilenet-v2-1.0 -o large.safetensors >/dev/null
$train -m large.safetensors -o out.safetensors --method last --threads 1 --memory-limit 1K 2>message >/dev/null
limit=$(sed -n 's/.*smallest limit that would do is \([0-9]*\)\.\([0-9]\)M$/\1\200000/p' message)
for margin in 0 1 2 3 4 5 6 7 8 9; do
  code=0
  $train -m large.safetensors -o out.safetensors --threads 1 \
    --memory-limit "$((limit + margin * 100000))" --json 2>messages >events || code=$?
  [ $code = 5 ] || break
done
grep 'not tried' messages
steps <events | tail -n 1 | json_check method tried val_top1 kept reason
tail -n 1 events | json_check method

train="tinytl train -d $fixtures/pictures --image-size 32 --epochs 2"
# Mirroring as it was asked for.
for mirror in --mirror --no-mirror; do
  $train -o out.safetensors --method bias $mirror --json -q >events
  json_check event <events | sort -u
  tail -n 1 events | json_check mirror
done
run $train -o out.safetensors --mirror --no-mirror
