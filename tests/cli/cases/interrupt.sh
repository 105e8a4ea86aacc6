# SIGINT and SIGTERM end a run with exit code 6 and leave the old file alone.
echo "the old file" >old.safetensors
for signal in INT TERM; do
  # The run is long; the signal comes when its first epoch is over.
  tinytl train -d "$fixtures/pictures" -o old.safetensors --method bias --image-size 32 \
    --epochs 10000 --lr 2e-3 --threads 1 --json -q >events 2>messages &
  pid=$!
  while [ ! -s events ] && kill -0 $pid 2>/dev/null; do sleep 0.05; done
  head -n 1 events | json_check event epoch
  kill -s $signal $pid
  code=0
  wait $pid || code=$?
  echo "exit $code"
  cat messages old.safetensors
  rm events messages
done
ls -A

# Under nohup, which ignores SIGHUP, the end of the terminal ended the run all the same.
(
  trap '' HUP
  exec tinytl train -d "$fixtures/pictures" -o new.safetensors --method last --image-size 32 \
    --epochs 400 --threads 1 --json -q >events
) &
pid=$!
while [ ! -s events ] && kill -0 $pid 2>/dev/null; do sleep 0.05; done
kill -s HUP $pid
code=0
wait $pid || code=$?
echo "exit $code"
tail -n 1 events | json_check event epochs
