# A super-net from nothing: what info says of it, going on after SIGKILL, and where it is not wanted.
pretrain="tinytl pretrain supernet-0.1 --lite -d $fixtures/pictures --image-size 32 --epochs 3 --batch 25"
$pretrain -o whole.safetensors --json -q | tail -n 1 | json_check event architecture epochs
run tinytl info whole.safetensors
tinytl info whole.safetensors --json | json_check kind architecture classes parameters

$pretrain -o new.safetensors --checkpoint run.ckpt --checkpoint-every 0 -q --threads 1 &
pid=$!
while [ ! -s run.ckpt ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
kill -s KILL $pid
wait $pid 2>/dev/null
show $pretrain -o new.safetensors --checkpoint run.ckpt --resume -q --threads 3
cmp new.safetensors whole.safetensors && echo "the same super-net"

# The sub-net for some pictures; it is adapted as any backbone.
search="tinytl search -m whole.safetensors -d $fixtures/pictures --candidates 16 --epochs 1 --image-sizes 32,48"
$search -o chosen.safetensors --json -q >events
grep -c '"front"' events | sed 's/^[1-9][0-9]*$/a front/'
tail -n 1 events | json_check event adapted backbone
tinytl info chosen.safetensors --json | json_check architecture classes; tinytl info chosen.safetensors | grep lite | sed "s,[1-9][0-9]*$,N,"
show tinytl train -m chosen.safetensors -d $fixtures/pictures -o adapter.safetensors $small
$search -o again.safetensors -q --threads 1 | head -n 1
cmp again.safetensors chosen.safetensors && echo "the same backbone"
show $search -o no.safetensors -q --max-macs 0.0000001 # was no limit
run $search -o no.safetensors -q --json --max-macs 0.1 | sed 's/limit of [0-9.]*M/limit of NM/'
$search -o no.safetensors -q --json --memory-limit 1M 2>/dev/null
echo "exit $?"
run tinytl search -m "$TINYTL_MODEL" -d $fixtures/pictures -o no.safetensors
run tinytl search -m whole.safetensors -d $fixtures/pictures -o no.safetensors --method auto
run tinytl search -m whole.safetensors -d $fixtures/pictures -o no.safetensors --image-sizes 64,48
rm -f events chosen.safetensors again.safetensors adapter.safetensors

# The bundled super-net.
show tinytl search -d $fixtures/pictures -o chosen.safetensors --candidates 16 --epochs 1 --image-sizes 32,48 -q
tinytl info chosen.safetensors --json | json_check architecture image_size classes | sed 's/ 32 \| 48 / 32 or 48 /'
rm chosen.safetensors

# Killed on its way, and its plot.
$search -o chosen.safetensors --plot front.svg --json -q --threads 1 >events
grep -c '"candidate"\|"front"' events | sed 's/^[1-9][0-9]*$/all that was measured/'
tail -n 1 events | json_check event backbone
head -c 4 front.svg && echo " plot"
tinytl info chosen.safetensors --json | json_check architecture classes
$search -o again.safetensors --checkpoint run.ckpt --checkpoint-every 0 -q --threads 1 >/dev/null &
pid=$!
while [ ! -s run.ckpt ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
kill -s KILL $pid
wait $pid 2>/dev/null
run $search -o again.safetensors --checkpoint run.ckpt --resume -q --candidates 17 | sed 's/{.*/.../'
run $search -o again.safetensors --checkpoint run.ckpt --resume -q --image-sizes 32
$search -o again.safetensors --checkpoint run.ckpt --resume -q --threads 2 >/dev/null
cmp again.safetensors chosen.safetensors && echo "the same backbone"
# Of five pictures a class it holds two out, as train does, not a fifth: train would validate on what it has trained on.
$search -o again.safetensors --val-split 0.4 -q >/dev/null
cmp again.safetensors chosen.safetensors && echo "the same backbone"
$search -o again.safetensors --val-split 0.2 -q >/dev/null
cmp -s again.safetensors chosen.safetensors || echo "another one"
$search -o again.safetensors --checkpoint run.ckpt --checkpoint-every 0 -q >/dev/null 2>&1 &
pid=$!
while [ ! -s run.ckpt ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
kill -s TERM $pid
wait $pid
echo "exit $?"
rm -f run.ckpt
# What was measured is saved before it is written.
[ -c /dev/full ] && $search -o /dev/full --checkpoint run.ckpt -q >/dev/null 2>&1
[ -s run.ckpt ] && echo "saved"
run $search -o again.safetensors --checkpoint run.ckpt --resume --plot run.ckpt.lock
rm -f events chosen.safetensors again.safetensors front.svg run.ckpt

run tinytl train -m whole.safetensors -d $fixtures/pictures -o no.safetensors $small
run tinytl plan -m whole.safetensors
run tinytl pretrain supernet-9 -d $fixtures/pictures -o no.safetensors
head -c 3000 whole.safetensors >cut.safetensors
run tinytl info cut.safetensors
ls
