# Names with anything in them: JSON stays valid, terminals get no control characters.
first=$(find "$fixtures/pictures/train" -name '*.png' | sort | head -n 1)
last=$(find "$fixtures/pictures/train" -name '*.png' | sort | tail -n 1)
newline=$(printf 'two\nlines')
escape=$(printf 'red\033[31m')
latin=$(printf 'caf\351')
n=0
for class in 'with space' "it's \"quoted\"" 'back\slash' 'größe' "$newline" "$escape" "$latin"; do
  mkdir -p "odd/$class"
  for i in 1 2 3; do
    cp "$first" "odd/$class/$class $i.png"
    cp "$last" "odd/$class/$i.png"
  done
done
run sh -c "tinytl train -d odd -o 'out it.safetensors' --method last $small --json | tail -n 1 |
  json_check event classes train_images adapter"
run sh -c "tinytl info 'out it.safetensors' --json | json_check labels"
run sh -c "tinytl info 'out it.safetensors' | tail -n 7"
run sh -c "tinytl eval -a 'out it.safetensors' -d odd --json | json_check images"
run sh -c "tinytl eval -a 'out it.safetensors' -d odd | grep -c '3\[31m'"
for class in "$newline" "$escape" "$latin" 'größe'; do
  tinytl predict -a 'out it.safetensors' "odd/$class/$class 1.png" --json | json_check image
  tinytl predict -a 'out it.safetensors' "odd/$class/$class 1.png" | cut -f1
  tinytl predict -a 'out it.safetensors' "odd/$class/$class none.png" 2>&1
done
