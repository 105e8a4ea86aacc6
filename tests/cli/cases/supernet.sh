# A super-net from nothing: what info says of it, going on after SIGKILL, and where it is not wanted.
pretrain="tinytl pretrain supernet-0.1 -d $fixtures/pictures --image-size 32 --epochs 3 --batch 25"
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

run tinytl train -m whole.safetensors -d $fixtures/pictures -o no.safetensors $small
run tinytl plan -m whole.safetensors
run tinytl pretrain supernet-9 -d $fixtures/pictures -o no.safetensors
head -c 3000 whole.safetensors >cut.safetensors
run tinytl info cut.safetensors
ls
