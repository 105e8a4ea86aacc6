# The keys that every command prints with --json are those of docs/json.md, no more and no fewer.
documented() { # SECTION...: the keys in the tables below these headings, those up to the next heading
  for section in "$@"; do
    awk -v heading="$section" '
      /^#/ { inside = $0 ~ "^#+ " heading "$" }
      inside && /^\| `/ { split($0, cell, "|"); print cell[2] }' "$here/../../docs/json.md" |
      tr -d ' `' | tr ',' '\n'
  done | sort -u
}
same() { # SECTION..., JSON Lines on stdin: whether their keys are those
  json_check | sort -u >found
  documented "$@" >wanted
  [ -s wanted ] && diff wanted found && echo "$1: as documented"
}
of_event() {
  grep "\"event\":\"$1\""
}
pictures=$fixtures/pictures
one=$(find "$pictures/test" -name '*.png' | sort | head -n 1)

tinytl train -d "$pictures" -o mine.safetensors $small --json >events
for event in epoch mirror step refit 'done'; do of_event $event <events | same "train: $event"; done
(exec tinytl train -d "$pictures" -o no.safetensors $small --method bias --epochs 10000 --json -q >events) &
while ! of_event reach <events >/dev/null && kill -0 $! 2>/dev/null; do sleep 0.05; done
kill -s KILL $!
wait $! 2>/dev/null
of_event reach <events | same 'train: reach'
tinytl eval -a mine.safetensors -d "$pictures" -q --json | same eval
tinytl eval -a mine.safetensors -d "$pictures" -q --json --unknown "$pictures/train" | same eval "eval --unknown"
tinytl eval -a mine.safetensors -d "$pictures" -q --json --wrong | grep '"wrong"' | same "eval --wrong"
tinytl predict -a mine.safetensors "$one" --json | same predict
tinytl predict -a mine.safetensors "$one" --json --reject | same predict "predict --reject"
tinytl plan --json | same plan
tinytl plan --json --paper | same plan "plan --paper"
tinytl bench --task predict --image-size 32 --seconds 0.01 --json | same bench
tinytl bench --task train --image-size 32 --seconds 0.01 --json --profile | same bench "bench --profile"
tinytl info mine.safetensors --json | same 'info: adapter'

tinytl pretrain mobilenet-v2-0.1 -d "$pictures" --image-size 32 --epochs 1 -o whole.safetensors -q --json >events
{ of_event epoch <events && echo '{"method":null}'; } | same 'train: epoch' # it has no method
tinytl info whole.safetensors --json | same 'info: backbone'
tinytl pretrain supernet-0.1 -d "$pictures" --image-size 32 --epochs 1 -o super.safetensors -q --json >>events
of_event 'done' <events | same 'pretrain: done'
tinytl info super.safetensors --json | same 'info: super-net'
tinytl search -m super.safetensors -d "$pictures" --candidates 16 --epochs 1 --image-sizes 32 -o chosen.safetensors -q --json >events
grep -v '"done"' events | same 'search: candidate'
of_event 'done' <events | same 'search: candidate' 'search: done'

# Checkpoints that were left by a run that was ended.
left() { # COMMAND...: until its first save
  "$@" --checkpoint run.ckpt --checkpoint-every 0 -q >/dev/null 2>&1 &
  pid=$!
  while [ ! -s run.ckpt ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
  kill -s KILL $pid
  wait $pid 2>/dev/null
  tinytl info run.ckpt --json
  rm -f run.ckpt
}
exec 2>/dev/null # the shell tells of the kills
left tinytl train -d "$pictures" -o no.safetensors --image-size 32 --epochs 10000 | same 'info: checkpoint' 'info: checkpoint of train'
left tinytl pretrain supernet-0.1 -d "$pictures" --image-size 32 --epochs 1000 -o no.safetensors | same 'info: checkpoint' 'info: checkpoint of pretrain'
left tinytl search -m super.safetensors -d "$pictures" --epochs 1000 -o no.safetensors | same 'info: checkpoint' 'info: checkpoint of search'
