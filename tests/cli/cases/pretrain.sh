# A backbone from nothing: it evaluates and predicts by itself, and train adapts it.
pretrain="tinytl pretrain mobilenet-v2-0.1 -d $fixtures/pictures --image-size 32 --epochs 3 --batch 8"
run $pretrain -o whole.safetensors --json -q >events
grep '^{' events | json_check event architecture epochs
tinytl info whole.safetensors --json | json_check architecture image_size classes
show tinytl eval -m whole.safetensors -d $fixtures/pictures -q
show tinytl train -m whole.safetensors -d $fixtures/pictures -o adapter.safetensors $small
rm -f adapter.safetensors events

# SIGKILL: it goes on from its checkpoint to the same bytes, with another number of threads.
$pretrain -o new.safetensors --checkpoint run.ckpt --checkpoint-every 0 -q --threads 1 &
pid=$!
while [ ! -s run.ckpt ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
kill -s KILL $pid
wait $pid 2>/dev/null
ls run.ckpt
show $pretrain -o new.safetensors --checkpoint run.ckpt --resume -q --threads 3
cmp new.safetensors whole.safetensors && echo "the same backbone"
ls

# What cannot be.
run $pretrain -o no.safetensors -q --memory-limit 3M | sed 's/[0-9.]* MB/N MB/g; s/[0-9.]*M,/NM,/'
run tinytl pretrain mobilenet-v3 -d $fixtures/pictures -o no.safetensors
run tinytl pretrain supernet -d $fixtures/pictures -o no.safetensors
run tinytl pretrain -d $fixtures/pictures -o no.safetensors
run $pretrain -o no.safetensors --batch 1
ls

# A teacher: as trained before; one of other classes is none.
tinytl pretrain mobilenet-v2-0.1 -d $fixtures/pictures -o teacher.safetensors --image-size 32 --epochs 1 --batch 25 -q >/dev/null
show tinytl pretrain mobilenet-v2-0.1 -d $fixtures/pictures -o taught.safetensors --image-size 32 --epochs 1 --batch 25 -q --lite --teacher teacher.safetensors
tinytl info taught.safetensors | grep lite
run tinytl pretrain mobilenet-v2-0.1 -d $fixtures/pictures -o no.safetensors --teacher $fixtures/other.safetensors -q
ls ./*.safetensors
run tinytl pretrain mobilenet-v2-0.1 -d $fixtures/pictures -o no.safetensors --image-sizes 48,x
run tinytl pretrain mobilenet-v2-0.1 -d $fixtures/pictures -o no.safetensors --image-size 40 --image-sizes 32,48 -q
