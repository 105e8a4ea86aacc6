#!/bin/sh
# mpi.sh MPIRUN TINYTL DRAW_PICTURES: pre-training over two ranks. MPIRUN '': the build has no MPI,
# and the test is skipped.
set -eu

if [ -z "$1" ]; then
  echo "skipped: built without TINYTL_MPI"
  exit 77
fi
mpirun=$1
tinytl=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# More ranks than cores, as root in a container, over this machine alone.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1

fail() {
  echo "FAILED: $*"
  exit 1
}
ranks() {
  n=$1
  shift
  timeout -s KILL 60 "$mpirun" -n "$n" "$tinytl" pretrain "$@"
}

"$3" pictures 5 2 >/dev/null
options="-d pictures --image-size 32 --batch 8 --threads 1"

# The first rank alone writes, and says, what one process does.
"$tinytl" pretrain mobilenet-v2-0.1 $options --epochs 2 -o one.safetensors >one.out 2>one.err
ranks 2 mobilenet-v2-0.1 $options --epochs 2 -o two.safetensors >two.out 2>two.err
grep -q '^pictures ' two.out || fail "no summary"
[ "$(wc -l <two.out)" = "$(wc -l <one.out)" ] || fail "two ranks wrote"
[ "$(grep -c '^epoch' two.err)" = 2 ] || fail "two ranks told of epochs"
"$tinytl" eval -m two.safetensors -d pictures -q >/dev/null || fail "no backbone"
ranks 2 mobilenet-v2-0.1 $options --epochs 2 -o again.safetensors -q >/dev/null
cmp two.safetensors again.safetensors || fail "not the same bytes"

# A failure that all know ends all of them with its exit code.
code=0
ranks 2 mobilenet-v2-0.1 $options -o no.safetensors -d nothing >out 2>&1 || code=$?
[ "$code" = 3 ] || fail "exit code $code for a folder that is not there"

# A rank is killed in the middle: the others end, the last checkpoint is good, and one process and
# three ranks go on from it.
long="mobilenet-v2-0.1 $options --epochs 400 --checkpoint run.ckpt --checkpoint-every 0"
ranks 2 $long -o no.safetensors -q >killed.out 2>&1 &
run=$!
while [ ! -s run.ckpt ] && kill -0 "$run" 2>/dev/null; do sleep 0.1; done
rank=$(ps -eo pid,args | awk -v dir="$tinytl" '$2 == dir && $3 == "pretrain" && /run.ckpt/ { pid = $1 } END { print pid }')
kill -KILL "$rank"
code=0
wait "$run" || code=$?
[ "$code" != 0 ] || fail "a run that lost a rank ended well"
[ "$code" != 137 ] || grep -q 'signal 9' killed.out || fail "a run that lost a rank hung"
[ ! -e no.safetensors ] || fail "a run that lost a rank wrote a backbone"
[ -s run.ckpt ] || fail "no checkpoint"

# SIGTERM to one rank: all stop at the same update and the state is saved.
for n in 3 2; do
  ranks $n $long -o no.safetensors --resume >stopped.out 2>&1 &
  run=$!
  rank=
  while [ -z "$rank" ] && kill -0 "$run" 2>/dev/null; do
    sleep 0.3
    grep -q 'going on from run.ckpt' stopped.out || continue
    rank=$(ps -eo pid,args | awk -v dir="$tinytl" '$2 == dir && $3 == "pretrain" && /run.ckpt/ { pid = $1 } END { print pid }')
  done
  kill -TERM "$rank"
  code=0
  wait "$run" || code=$?
  [ "$code" = 6 ] || fail "exit code $code for a run of $n that was stopped"
  grep -q 'the run is saved in run.ckpt' stopped.out || fail "not saved by $n"
done
code=0
timeout -s TERM 3 "$tinytl" pretrain $long -o no.safetensors --resume >one.out 2>&1 || code=$?
grep -q 'going on from run.ckpt' one.out || fail "one process does not go on"
echo "all passed"
