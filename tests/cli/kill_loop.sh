#!/bin/sh
# kill_loop.sh TINYTL DRAW_PICTURES [KILLS]: kills training at random moments, KILLS (20) times in all, and goes on each
# time from the checkpoint: every run must end with the bytes of one that was left alone. Methods, optimizers and memory
# limits take turns. Not part of the tests, which know no chance; a line a run on stdout.
set -eu

tinytl=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
draw=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
kills=${3:-20}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$draw" pictures 20 2 >/dev/null
"$tinytl" init mobilenet-v2-0.35 -o backbone.safetensors >/dev/null

# A number below $1.
random() {
  echo $(($(od -An -N4 -tu4 /dev/urandom) % $1))
}

n_killed=0
n_runs=0
n_left=0
while [ "$n_killed" -lt "$kills" ]; do
  case $((n_runs % 6)) in
  0) options="--method lite+bias" ;;
  1) options="--method last" ;;
  2) options="--method bias --optimizer sgd --val-split 0" ;;
  3) options="--method lite+bias --optimizer adam8 --memory-limit 8M" ;;
  4) options="--method last --augment on" ;;
  *) options="--lr 0.01" ;; # auto
  esac
  train="$tinytl train -m backbone.safetensors -d pictures --image-size 48 --epochs 6 --threads 2 -q $options"
  $train -o whole.safetensors >/dev/null
  rm -f new.safetensors
  in_run=0
  until [ -e new.safetensors ]; do
    $train -o new.safetensors --checkpoint run.ckpt --checkpoint-every 0 --resume >/dev/null &
    pid=$!
    sleep "$(random 2).$(random 10)$(random 10)"
    kill -s KILL $pid 2>/dev/null || true
    code=0
    wait $pid 2>/dev/null || code=$?
    case $code in
    0) ;;
    137)
      in_run=$((in_run + 1))
      for left in .run.ckpt.*; do [ ! -e "$left" ] || n_left=$((n_left + 1)); done
      ;;
    *)
      echo "exit code $code: $options"
      exit 1
      ;;
    esac
  done
  n_killed=$((n_killed + in_run))
  n_runs=$((n_runs + 1))
  if cmp new.safetensors whole.safetensors; then
    echo "the same adapter after $in_run kills: $options"
  else
    echo "ANOTHER adapter after $in_run kills: $options"
    exit 1
  fi
done
echo "$n_killed kills in $n_runs runs, $n_left temporary files left"
