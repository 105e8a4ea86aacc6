# The figures differ by machine and processor; the shape of the table, the keys and the paper's own figures do not.
tinytl init proxyless-mobile --classes 102 -o proxyless.safetensors >out
tinytl plan --image-size 64 --classes 5 --pictures 40 --batch 2 | sed -n '1,/^ *$/p' | head -n 1
tinytl plan --image-size 64 | cut -c 1-20 | sed -n '4,$s/^\([a-z][^0-9]*[a-z]\) *$/\1/p'

# One object a method.
tinytl plan --image-size 64 --batch 2 --threads 3 --json >out
json_check method batch image_size classes pictures fits optimizer lanes defers_gradients recomputes spills <out
for key in total_bytes frozen_bytes trained_bytes gradient_bytes optimizer_bytes kept_bytes picture_bytes saved_bytes \
  map_bytes scratch_bytes other_bytes one_lane_bytes base_rss_bytes smallest_bytes paper_bytes macs; do
  json_check $key <out | grep -c '^[0-9]' | sed "s/$/ $key/"
done
json_check peak_step <out | grep -c '^"..*"$'
# The parts are the total.
json_check total_bytes frozen_bytes trained_bytes gradient_bytes optimizer_bytes kept_bytes picture_bytes saved_bytes \
  map_bytes scratch_bytes other_bytes <out |
  awk '{ sum = 0; for (i = 2; i <= NF; i++) sum += $i; print sum == $1 ? "total" : "not the total" }'

# What TinyTL's paper says of ProxylessNAS-Mobile with 102 classes, to the byte.
tinytl plan -m proxyless.safetensors --classes 102 --paper --json | json_check method paper_bytes paper_table_bytes
tinytl plan -m proxyless.safetensors --classes 102 --paper --image-size 320 --json | json_check method paper_bytes
tinytl plan -m proxyless.safetensors --classes 102 --method bias --json | json_check method paper_bytes paper_table_bytes
tinytl plan -m proxyless.safetensors --classes 102 --paper | grep "^paper's"

# A limit: everything fits, nothing does; the smallest limit does and is what the message names.
tinytl plan --memory-limit 1G --json | json_check method fits
tinytl plan --memory-limit 1G --threads 2 | sed -n '/^With/,$p'
tinytl plan --memory-limit 1K --json >out 2>message
echo "exit $?"
json_check method fits <out
sed 's/[0-9][0-9.]* *M/N M/g' message
tinytl plan --memory-limit 1K 2>message | sed -n '/^With/,$p' | sed 's/least [0-9.]* MB/least N MB/'
show tinytl plan --method bias --memory-limit 1K
least=$(tinytl plan --method bias --json | json_check smallest_bytes)
tinytl plan --method bias --memory-limit $((least + 1000000)) --json | json_check method fits

tinytl init mobilenet-v2-0.1 --classes 3 -o out >/dev/null
run tinytl plan --method most
run tinytl plan --memory-limit 24MiB
run tinytl plan --classes 1
run tinytl plan stray
run tinytl plan -m nowhere.safetensors
