# Every option that takes a number refuses what is none and what is out of its range.
try() {
  option=$1
  shift
  for value in "$@"; do
    tinytl train -d pictures -o adapter "$option" "$value" 2>&1 | head -n 1
  done
}
try --epochs 0 -1 10001 3x '' ' 3' 1e3 99999999999999999999
try --batch 0 4097 two
try --image-size 31 1025 224.5
try --threads 0 65
try --patience -1 10001
try --lr 0 -0.1 1e-50 11 nan inf 1e 0.1x 0x1p-4 -0x1
try --label-smoothing 1 -0.1 nan
try --dropout 1 0.999999999 -0.1
try --val-split -0.1 0.91 none
try --colour-jitter -0.1 1.1
try --memory-limit 0 -5M 24X M 1e40G 24MM nan inf '' ' 24M' '24 MB' MB 24MiB 24m 0x10 0X10M -0x10 \
  0.5 1e-30 1e30 99999999999999999999 1e99999 24M24M 1,5G
try --seed -1 18446744073709551616 1.5 ''
tinytl init mobilenet-v2-0.1 -o out --classes 0 2>&1 | head -n 1
tinytl init mobilenet-v2-0.1 -o out --classes 100001 2>&1 | head -n 1
tinytl init mobilenet-v2-0.1 -o out --seed x 2>&1 | head -n 1
tinytl predict --top 0 picture.png 2>&1 | head -n 1
tinytl predict --top 1001 picture.png 2>&1 | head -n 1
tinytl predict --image-size 16 picture.png 2>&1 | head -n 1
tinytl eval --threads 100 -d pictures 2>&1 | head -n 1
tinytl bench --seconds 0 2>&1 | head -n 1
tinytl bench --batch 0 2>&1 | head -n 1
# The ends of a range belong to it; the folder is what is missing then.
show tinytl train -d nowhere -o adapter --epochs 10000 --batch 4096 --image-size 1024 \
  --threads 64 --seed 18446744073709551615 --lr 10 --label-smoothing 0 --dropout 0.99 \
  --val-split 0.9 --colour-jitter 1 --memory-limit 1.5G --patience 10000
