# Model files that cannot be used: exit code 4, and nothing is written.
backbone=$fixtures/backbone.safetensors
touch empty.safetensors
head -c 100 "$backbone" >header.safetensors
head -c 20000 "$backbone" >truncated.safetensors
echo "this is no model" >text.safetensors
cp "$(find "$fixtures/pictures/test" -name '*.png' | sort | head -n 1)" picture.png
head -c 1000 picture.png >picture.safetensors
printf '\377\377\377\377\377\377\377\177{}' >huge.safetensors
for file in missing empty header truncated text picture huge; do
  run tinytl info $file.safetensors
  show tinytl train -m $file.safetensors -d "$fixtures/pictures" -o out.safetensors
  show tinytl import $file.safetensors -o out.safetensors
  show tinytl predict -a $file.safetensors picture.png
done
# Other weights are for import.
{ printf '\034\0\0\0TFL3' && head -c 100 /dev/zero; } >weights.tflite
run tinytl info weights.tflite
run tinytl info .
# It was read until memory was full.
run tinytl info /dev/zero
# An adapter is no backbone, a backbone no adapter, and an adapter belongs to one backbone.
run tinytl train -m "$fixtures/adapter.safetensors" -d "$fixtures/pictures" -o out.safetensors
run tinytl predict -a "$backbone" picture.png
run tinytl eval -m "$fixtures/other.safetensors" -a "$fixtures/adapter.safetensors" \
  -d "$fixtures/pictures"
# Damage behind the header of an adapter is told as an adapter's.
head -c -4 "$fixtures/adapter.safetensors" >short_adapter.safetensors
run tinytl info short_adapter.safetensors
run tinytl predict -m nowhere.safetensors picture.png
ls out.safetensors 2>&1
# A program and its model in one folder, wherever that is.
mkdir board
cp "$(command -v tinytl)" board/
cp "$backbone" board/default.safetensors
show env -u TINYTL_MODEL board/tinytl plan
# A path that is longer than a message: the reason is told, and the file. Either was cut off.
long=$(printf '%0200d' 0 | tr 0 x)
mkdir -p "$long/$long/$long"
cp truncated.safetensors text.safetensors "$long/$long/$long/"
head -c 1000 picture.png >"$long/$long/$long/short.png"
for file in missing truncated text; do
  tinytl info "$long/$long/$long/$file.safetensors" 2>&1
done
tinytl predict "$long/$long/$long/missing.png" "$long/$long/$long/short.png" 2>&1
# Weights of 3e38, which no sum fits: it was not told for which picture.
{ head -c -4000 "$fixtures/adapter.safetensors" && head -c 4000 /dev/zero | tr '\0' '\177'; } >large_values.safetensors
run tinytl predict -a large_values.safetensors picture.png
