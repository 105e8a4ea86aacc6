# Train, evaluate, predict: the events and keys that other programs read.
pictures=$fixtures/pictures
first=$(find "$pictures/test" -name '*.png' | sort | head -n 1)
for method in last bias lite lite+bias norm full; do
  tinytl train -d "$pictures" -o $method.safetensors --method $method $small --json >events
  json_check event epoch <events
  tail -n 1 events | json_check method classes epochs train_images val_images skipped adapter
  # Every figure is there and above zero.
  for key in planned_bytes peak_rss_bytes images_per_second seconds; do
    tail -n 1 events | json_check $key | grep -c '^[1-9]\|^0\.[0-9]*[1-9]'
  done
  tinytl info $method.safetensors --json | json_check kind method image_size classes
  tinytl eval -a $method.safetensors -d "$pictures" --json >eval
  json_check event images skipped <eval
  json_check top1 top5 ece ece_by_chance balanced_accuracy <eval | grep -c 'null\|-'
  tinytl predict -a $method.safetensors --json "$first" >predict
  json_check image <predict
done
# Without validation its accuracy is null, never nan.
tinytl train -d "$pictures" -o none.safetensors --method last --val-split 0 $small --json |
  json_check event val_top1
# The same seed gives the same bytes, whatever the number of threads.
for threads in 1 2 3; do
  tinytl train -d "$pictures" -o $threads.safetensors --image-size 32 --epochs 1 \
    --threads $threads -q >/dev/null
done
cmp 1.safetensors 2.safetensors && cmp 1.safetensors 3.safetensors && echo same
tinytl train -d "$pictures" -o seed.safetensors --image-size 32 --epochs 1 --seed 1 -q >/dev/null
cmp -s 1.safetensors seed.safetensors || echo other
# predict and eval agree.
tinytl eval -a last.safetensors -d "$pictures" --json | json_check classes | tr '}' '\n' | head -n 1 |
  sed 's/"recall":.*//'
tinytl predict -a last.safetensors --top 99 --json "$first" | json_check top | tr '}' '\n' | grep -c class
tinytl train -d "$pictures" -o limit.safetensors --memory-limit 10K $small 2>&1 | sed 's/[0-9][0-9.]* *M/N M/g'
show tinytl train -d "$pictures" -o limit.safetensors --memory-limit 10K $small
ls limit.safetensors 2>&1
# Off a terminal progress is a line an epoch, without animation or colour.
tinytl train -d "$pictures" -o loud.safetensors --method last --image-size 32 --epochs 2 2>&1 >/dev/null |
  sed 's/  loss.*//' | cat -v
