# A run that was ended in any way goes on from its checkpoint, and ends with the bytes of one that was not.
train="tinytl train -d $fixtures/pictures --image-size 32 --epochs 12 --threads 1"
every="--checkpoint run.ckpt --checkpoint-every 0"
show $train -o whole.safetensors -q

# SIGKILL, at several moments: after so many saves, or in a method of auto. Only the checkpoint and the lock's file are left
# behind.
reached() {
  case $1 in
  [0-9]*)
    now=$(stat -c %i run.ckpt 2>/dev/null)
    [ "$now" = "$seen" ] || n=$((n + 1))
    seen=$now
    [ $n -ge "$1" ]
    ;;
  *) grep -aqF "\\\"method\\\":\\\"$1\\\"" run.ckpt 2>/dev/null ;;
  esac
}
for moment in 1 5 bias; do
  $train -o new.safetensors $every -q &
  pid=$!
  seen=
  n=0
  while ! reached $moment && kill -0 $pid 2>/dev/null; do :; done
  kill -s KILL $pid
  wait $pid 2>/dev/null
  echo "killed: $?"
  ls
  # What a kill between the two steps of a save leaves is gone with the next save.
  echo left >.run.ckpt.new
  show $train -o new.safetensors $every --resume -q
  cmp new.safetensors whole.safetensors && echo "the same adapter"
  ls -A
  rm new.safetensors
done

# SIGINT and SIGTERM: exit code 6, and the state is saved though no save was due.
for signal in INT TERM; do
  $train -o new.safetensors --checkpoint run.ckpt --json -q >events 2>messages &
  pid=$!
  while [ ! -s events ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
  kill -s $signal $pid
  wait $pid
  echo "exit $?"
  cat messages
  ls -A
  $train -o new.safetensors --checkpoint run.ckpt --resume 2>&1 >/dev/null | grep going |
    sed 's/method [a-z+]*/method M/; s/epoch [0-9]* of/epoch N of/; s/picture [0-9]* of/picture N of/'
  cmp new.safetensors whole.safetensors && echo "the same adapter"
  rm new.safetensors events messages
done
ls -A

# Where there is no checkpoint yet, --resume begins; at the end none is left.
show $train -o new.safetensors --checkpoint run.ckpt --resume
cmp new.safetensors whole.safetensors && echo "the same adapter"
ls -A

# What a checkpoint says of its run; and one to refuse.
stopped() {
  $train -o new.safetensors $every -q "$@" &
  pid=$!
  while [ ! -s run.ckpt ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
  kill -s TERM $pid
  wait $pid
}
rm -f new.safetensors
stopped 2>/dev/null
tinytl info run.ckpt | sed '/^position/s/[0-9][0-9]*/N/g; /^kernels/d; /^validation/d'
run $train -o new.safetensors --checkpoint run.ckpt
run $train -o new.safetensors --resume
run $train -o new.safetensors --checkpoint run.ckpt --resume --epochs 7
run $train -o new.safetensors --checkpoint run.ckpt --resume --method last
run $train -o new.safetensors --checkpoint run.ckpt --resume --seed 1
run $train -o new.safetensors --checkpoint run.ckpt --resume --val-split 0.6
run $train -o new.safetensors --checkpoint run.ckpt --resume -m "$fixtures/other.safetensors"
run $train -o new.safetensors --checkpoint "$fixtures/adapter.safetensors" --resume
run $train -o run.ckpt --checkpoint run.ckpt --resume
run $train -o ./none --checkpoint none
run $train -o new.safetensors --checkpoint "$fixtures"
run $train -o new.safetensors --checkpoint nowhere/run.ckpt
head -c 5000 run.ckpt >cut.ckpt
run $train -o new.safetensors --checkpoint cut.ckpt --resume | sed 's/byte [0-9]*/byte N/; s/has [0-9]*/has N/'
(
  head -c 20000 run.ckpt
  printf 'x'
  tail -c +20002 run.ckpt
) >damaged.ckpt
run tinytl info damaged.ckpt
run $train -o new.safetensors --checkpoint damaged.ckpt --resume
: >empty.ckpt
run $train -o new.safetensors --checkpoint empty.ckpt --resume
rm cut.ckpt damaged.ckpt empty.ckpt
ls -A

# Saved by other kernels: said, and gone on from.
rm run.ckpt
TINYTL_KERNELS=portable
export TINYTL_KERNELS
stopped 2>/dev/null
unset TINYTL_KERNELS
if tinytl --version | grep -q portable; then
  echo "the adapter may differ in the last bits" # would, had this machine others
  rm run.ckpt
else
  $train -o new.safetensors --checkpoint run.ckpt --resume 2>&1 >/dev/null | grep -q 'last bits' &&
    echo "the adapter may differ in the last bits"
fi

# A second run on the same checkpoint is refused while the first one lives, under another name too.
$train -o first.safetensors --checkpoint run.ckpt -q --epochs 10000 2>messages &
pid=$!
while [ ! -s run.ckpt.lock ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
ln -s . here
run $train -o new.safetensors --checkpoint run.ckpt | sed "s/process $pid/process PID/"
run $train -o new.safetensors --checkpoint here/run.ckpt --resume | sed "s/process $pid/process PID/"
kill -s KILL $pid
wait $pid 2>/dev/null
ls -A

# A disk that is full: said once, training goes on, and what was saved before stays.
rm -f run.ckpt run.ckpt.lock here new.safetensors
stopped 2>/dev/null
cp run.ckpt good.ckpt
blocks=$(($(stat -c %s whole.safetensors) / 512 + 2)) # enough for the adapter
(
  ulimit -f $blocks
  $train -o new.safetensors $every --resume -q 2>messages &
  pid=$!
  while ! grep -q 'before stays' messages 2>/dev/null && kill -0 $pid; do sleep 0.02; done
  kill -s KILL $pid
  wait $pid 2>/dev/null
)
cat messages
cmp run.ckpt good.ckpt && echo "the last good checkpoint is there still"
run sh -c "ulimit -f $blocks; $train -o new.safetensors $every --resume -q >/dev/null" |
  sed "s/ulimit -f $blocks/ulimit -f N/"
cmp new.safetensors whole.safetensors && echo "the same adapter"

# The lock is no place for an output, and takes the place of no other file.
run $train -o run.ckpt.lock --checkpoint run.ckpt -q
echo "notes" >run.ckpt.lock
run $train -o new.safetensors --checkpoint run.ckpt -q
cat run.ckpt.lock
rm run.ckpt.lock
