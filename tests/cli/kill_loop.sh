#!/bin/sh
# kill_loop.sh TINYTL DRAW_PICTURES [KILLS [COMMAND]]: kills train, pretrain and search (or that COMMAND alone) at random
# moments, KILLS (20) times in all, and goes on each time from the checkpoint: every run must end with the bytes of one
# that was left alone. Methods and memory limits take turns. Not part of the tests, which know no chance; a line a
# run on stdout, at the end a line a command.
set -eu

tinytl=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
draw=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
kills=${3:-20}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >all <<'END'
train -m backbone.safetensors --image-size 48 --epochs 6 --method lite+bias
pretrain supernet-0.1 --lite --image-size 32 --batch 16 --epochs 6
search -m supernet.safetensors --candidates 40 --epochs 2
train -m backbone.safetensors --image-size 48 --epochs 6 --method last
pretrain mobilenet-v2-0.1 --image-size 32 --batch 16 --epochs 12
search -m supernet.safetensors --candidates 20 --epochs 3
train -m backbone.safetensors --image-size 48 --epochs 6 --method bias --optimizer sgd --val-split 0
search -m supernet.safetensors --candidates 30 --epochs 2 --memory-limit 9M
train -m backbone.safetensors --image-size 48 --epochs 6 --method lite+bias --optimizer adam8 --memory-limit 8M
pretrain supernet-0.1 --image-size 32 --image-sizes 32,48 --batch 16 --epochs 6
search -m supernet.safetensors --candidates 20 --epochs 3 --max-macs 1
train -m backbone.safetensors --image-size 48 --epochs 6 --method last --augment on
train -m backbone.safetensors --image-size 48 --epochs 6 --lr 0.01
END
grep "^${4:-}" all >runs
"$draw" pictures 20 2 >/dev/null
"$tinytl" init mobilenet-v2-0.35 -o backbone.safetensors >/dev/null
"$tinytl" pretrain supernet-0.1 --lite -d pictures --image-size 32 --batch 16 --epochs 2 -q -o supernet.safetensors >/dev/null

# A number below $1.
random() {
  echo $(($(od -An -N4 -tu4 /dev/urandom) % $1))
}

n_killed=0
n_runs=0
n_left=0
while [ "$n_killed" -lt "$kills" ]; do
  run=$(sed -n "$((n_runs % $(wc -l <runs) + 1))p" runs)
  command="$tinytl $run -d pictures --threads 2 -q"
  began=$(date +%s)
  $command -o whole.safetensors >/dev/null
  # However fast the machine is: several kills in a run, most of them after something was done.
  most=$((($(date +%s) - began) / 4 + 1))
  rm -f new.safetensors
  in_run=0
  until [ -e new.safetensors ]; do
    $command -o new.safetensors --checkpoint run.ckpt --checkpoint-every 0 --resume >/dev/null &
    pid=$!
    sleep "$(random $most).$(random 10)$(random 10)"
    kill -s KILL $pid 2>/dev/null || true
    code=0
    wait $pid 2>/dev/null || code=$?
    case $code in
    0) ;;
    137)
      in_run=$((in_run + 1))
      ;;
    *)
      echo "exit code $code: $run"
      exit 1
      ;;
    esac
  done
  n_killed=$((n_killed + in_run))
  n_runs=$((n_runs + 1))
  for left in .run.ckpt.* .new.safetensors.*; do [ ! -e "$left" ] || n_left=$((n_left + 1)); done
  if ! cmp new.safetensors whole.safetensors; then
    echo "ANOTHER file after $in_run kills: $run"
    exit 1
  fi
  echo "the same file after $in_run kills: $run"
  echo "${run%% *} $in_run" >>killed
done
awk '{ kills[$1] += $2; runs[$1]++ } END { for (c in kills) print c ": " kills[c] " kills in " runs[c] " runs" }' killed
echo "$n_killed kills in $n_runs runs, $n_left temporary files left"
