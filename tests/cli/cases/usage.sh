# What is wrong is named, and what it might have been.
run tinytl trian
run tinytl frobnicate
run tinytl help nothing
run tinytl train --epoch 3
run tinytl train --epoch=3
run tinytl train --completely-different
run tinytl train -Z
run tinytl train -d pictures
run tinytl train -d pictures -o adapter stray
run tinytl train -d
run tinytl train -d ''
run tinytl train --json=yes -d pictures -o adapter
run tinytl train --help=yes
run tinytl train --method=all -d pictures -o adapter
run tinytl train --optimizer lion -d pictures -o adapter
run tinytl train --augment maybe -d pictures -o adapter
run tinytl train -d pictures -o adapter --method last --mirror
run tinytl train -d pictures -o adapter --method bias --augment off --colour-jitter 0.1
run tinytl train -d pictures -o adapter --checkpoint-every 3
run tinytl predict
run tinytl info
run tinytl info one two
run tinytl init mobilenet-v3 -o out.safetensors
run tinytl init mobilenet-v2-9 -o out.safetensors
run tinytl init mobilenet-v2-0.1 -o out.safetensors --weights int4
ls
