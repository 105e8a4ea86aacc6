# An output is complete or as it was before, and whether it can be written is known before training.
train="tinytl train -d $fixtures/pictures --method last $small"
mkdir dir
run $train -o dir
run $train -o nowhere/out.safetensors
run $train -o "$fixtures/backbone.safetensors"
run $train -o /dev/full
[ -c /dev/full ] && echo "/dev/full is a device still"
run tinytl init mobilenet-v2-0.1 -o /dev/full
run tinytl init mobilenet-v2-0.1 -o dir
run tinytl import "$fixtures/backbone.safetensors" -o "$fixtures/backbone.safetensors"
run tinytl pretrain mobilenet-v2-0.1 -d "$fixtures/pictures" -o "$fixtures/backbone.safetensors" --teacher "$fixtures/backbone.safetensors"
run tinytl search -d "$fixtures/pictures" -o new.safetensors --plot same --checkpoint same
# By another name the plot replaced the backbone that had just been written.
mkdir sub
ln -s new.safetensors plot.svg
run tinytl search -d "$fixtures/pictures" -o new.safetensors --plot sub/../new.safetensors
run tinytl search -d "$fixtures/pictures" -o new.safetensors --plot plot.svg
touch new.safetensors
run tinytl search -d "$fixtures/pictures" -o new.safetensors --plot plot.svg
rm -r new.safetensors plot.svg sub
# Of a pipe there is no path to resolve. What is printed went into the file that comes out of it.
tinytl init mobilenet-v2-0.1 --classes 3 -o /dev/stdout 2>printed | cat >piped
cmp piped "$fixtures/backbone.safetensors" && grep -c /dev/stdout printed
tinytl train -d "$fixtures/pictures" --method last $small --json -o /dev/stdout 2>printed | cat >piped
tinytl info piped --json | json_check kind
json_check event <printed
rm printed
rm piped
# Opening it waited for a reader, and no signal ended that.
mkfifo pipe
run timeout 20 tinytl init mobilenet-v2-0.1 -o pipe
# A picture was replaced, and left out of the next training.
cp "$(find "$fixtures/pictures/train" -name '*.png' | head -n 1)" picture.png
run tinytl init mobilenet-v2-0.1 -o picture.png
# The temporary name is longer, which was found out after training.
run tinytl init mobilenet-v2-0.1 -o "$(printf %0254d 0 | tr 0 n)"
rm pipe picture.png
run sh -c "tinytl info $fixtures/backbone.safetensors >/dev/full"
# What cannot be written counts for more than what cannot be read.
run sh -c "tinytl predict -m $fixtures/backbone.safetensors nowhere.png $fixtures/pictures/test >/dev/full"
run sh -c "tinytl predict -m $fixtures/backbone.safetensors nowhere.png $fixtures/pictures/test nowhere.png --json >/dev/full"

# A run that fails keeps the old file; one that succeeds replaces it and keeps its mode.
echo "the old file" >old.safetensors
chmod 600 old.safetensors
show $train -d nowhere -o old.safetensors
cat old.safetensors
run sh -c "ulimit -f 1; trap '' XFSZ; $train -o old.safetensors"
cat old.safetensors
show $train -o old.safetensors
tinytl info old.safetensors --json | json_check kind
stat -c %a old.safetensors
# A symbolic link stays one.
ln -s old.safetensors link.safetensors
show $train -o link.safetensors
[ -L link.safetensors ] && echo "link.safetensors is a link still"
ls -A . dir

# The number of a closed stream went to the adapter, and what is printed went into it.
for closed in "2>&-" ">&- --json" "<&- >&- 2>&-"; do
  show sh -c "tinytl train -d $fixtures/pictures --method last --image-size 32 --epochs 1 -o new.safetensors $closed"
  tinytl info new.safetensors --json | json_check kind
  rm new.safetensors
done
# The signal of a file's size limit left the temporary file behind.
run sh -c "ulimit -f 1; $train -o new.safetensors"
ls -A

# A link that leads nowhere yet: the file that it names is made, and the link stays.
mkdir disk
ln -s disk/new.safetensors ahead.safetensors
show tinytl init mobilenet-v2-0.1 -o ahead.safetensors
[ -L ahead.safetensors ] && [ -f disk/new.safetensors ] && echo "behind the link"
ln -s link.a link.b
ln -s link.b link.a
run tinytl init mobilenet-v2-0.1 -o link.a
rm -r disk link.a link.b ahead.safetensors
