# What a file holds.
run tinytl init mobilenet-v2-0.35 --classes 10 -o a.safetensors --weights f32 --json
run tinytl init proxyless-mobile --classes 10 -o b.safetensors
run tinytl init mcunet-5fps --classes 10 -o c.safetensors
run tinytl info c.safetensors
tinytl info "$fixtures/adapter.safetensors" | sed -e '/^validation/d' -e '/^ /d' \
  -e '/^temperature/d' -e '/^unknown/d'
tinytl init mobilenet-v2-0.35 --classes 10 -o again.safetensors --weights f32 >/dev/null
cmp a.safetensors again.safetensors && echo same
