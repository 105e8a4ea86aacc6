# Folders that cannot be trained on: exit code 3. Pictures that cannot be read are left out.
train="tinytl train -o out.safetensors --method last $small"
picture() {
  find "$fixtures/pictures/train" -name '*.png' | sort | sed -n "$1p"
}
run $train -d nowhere
mkdir none
run $train -d none
mkdir -p one/only
cp "$(picture 1)" one/only/
run $train -d one
mkdir -p one/only/deeper
run $train -d one
rmdir one/only/deeper
cp "$(picture 1)" "$(picture 2)" one/
run $train -d one
mkdir -p gap/full gap/empty
cp "$(picture 1)" gap/full/
run $train -d gap
echo "no picture" >gap/empty/notes.txt
run $train -d gap
echo "no picture" >gap/empty/text.jpg
run $train -d gap
ls out.safetensors 2>&1

cp -r "$fixtures/pictures/train" some
class=$(ls some | head -n 1)
echo "no picture" >"some/$class/text.jpg"
: >"some/$class/empty.png"
head -c 300 "$(picture 1)" >"some/$class/cut.png"
echo "other files are not looked at" >"some/$class/readme.md"
run sh -c "$train -d some --json | tail -n 1 | json_check classes train_images val_images skipped"
run sh -c "tinytl eval -a out.safetensors -d some --json | json_check images skipped"
mkdir -p unknown/elsewhere
cp "$(picture 1)" unknown/elsewhere/
run tinytl eval -a out.safetensors -d unknown
run tinytl eval -d "$fixtures/pictures"
# A picture that is damaged behind its header is found out when it is decoded.
run tinytl predict -a out.safetensors --threads 1 "some/$class/cut.png" nowhere.png "some/$class/text.jpg"
show tinytl predict -a out.safetensors "$(picture 1)" nowhere.png
# A folder: all pictures below it, and what is wrong with some.
run sh -c "tinytl predict -a out.safetensors some 2>/dev/null | wc -l"
show tinytl predict -a out.safetensors some
show tinytl predict -a out.safetensors "$fixtures/pictures/test"
run tinytl predict -a out.safetensors none
# Each answer is written when it is there.
run sh -c "tinytl predict -a out.safetensors '$(picture 1)' nowhere.png '$(picture 2)' 2>&1 | grep -o 'pictures/\|nowhere'"
run sh -c "tinytl predict -a out.safetensors nowhere.png '$(picture 1)' --json 2>&1 | grep -c probability"

# The same picture in two classes is told of and stays.
cp -r "$fixtures/pictures/train" twice
other=$(ls twice | sed -n 2p)
cp "twice/$class/$(ls "twice/$class" | head -n 1)" "twice/$other/again.png"
run sh -c "$train -d twice 2>&1 | grep warning"

# Copies in a class stay on one side, and what is measured on is not to have been trained on.
rm "twice/$other/again.png"
for i in 1 2 3; do cp "$(picture $i)" "twice/$class/copy $i.png"; done
run sh -c "$train -d twice 2>&1 | grep warning"
mkdir seen
cp -r twice seen/train
cp -r "$fixtures/pictures/test" seen/test
cp "$(picture 1)" "seen/test/$class/"
run sh -c "tinytl eval -a out.safetensors -d seen -q 2>&1 | grep warning"
mv seen/test seen/val
run sh -c "$train -d seen 2>&1 | grep 'too good'"

# What cameras, network drives and archives leave is passed over.
mkdir some/@eaDir some/__MACOSX some/.thumbnails
show $train -d some
cp "$(picture 1)" some/@eaDir/
run sh -c "tinytl predict -a out.safetensors some 2>/dev/null | wc -l"
# Pictures of other kinds are named.
printf 'GIF89a' >kind.gif
printf 'RIFF    WEBPVP8 ' >kind.webp
printf '    ftypheic' >kind.heic
for kind in gif webp heic; do run tinytl predict -a out.safetensors kind.$kind; done

# DIR/val chooses the best epoch unless --val-split is given; it may lack a class of DIR/train.
mkdir parts
cp -r "$fixtures/pictures/train" parts/train
cp -r "$fixtures/pictures/test" parts/val
rm -r "parts/val/$class"
run sh -c "$train -d parts --json | tail -n 1 | json_check train_images val_images"
run sh -c "$train -d parts >/dev/null; tinytl eval -a out.safetensors -d parts --json | json_check images"
run sh -c "$train -d parts --val-split 0.2 --json | tail -n 1 | json_check train_images val_images"
# Of a class's only picture no share can be held back, asked for or not, which was said only where it was not.
for name in one other; do mkdir -p "single/$name"; done
cp "$(picture 1)" single/one/
cp "$(picture 2)" single/other/
for share in "" "--val-split 0.5" "--val-split 0"; do $train -d single $share 2>&1 | grep '^validation'; done
# Folders beside the parts are told of.
mkdir parts/fourth
run sh -c "$train -d parts 2>&1 | grep 'no class'"
mkdir parts/fifth
run sh -c "$train -d parts 2>&1 | grep 'no class'"
# A name that other programs have for a part.
mkdir parts/Validation
run sh -c "$train -d parts 2>&1 | grep 'no class'"
rmdir parts/fourth parts/fifth parts/Validation
mkdir -p capital/Train/a capital/Test/a
run $train -d capital
# What is left out of validation was not counted.
class=$(ls parts/val | head -n 1)
echo "no picture" >"parts/val/$class/text.jpg"
head -c 300 "$(picture 1)" >"parts/val/$class/cut.png"
run sh -c "$train -d parts --json | tail -n 1 | json_check train_images val_images skipped"
mv "parts/val/$(ls parts/val | head -n 1)" parts/val/unheard-of
run $train -d parts

# Six pictures in a row that cannot be read, and more threads than one: left out, each told of once by all methods of auto.
draw_pictures many 14 2 >/dev/null
first=$(ls many/train | head -n 1)
for picture in $(find "many/train/$first" -name '*.png' | sort | sed -n 2,7p); do
  head -c 300 "$picture" >cut
  mv cut "$picture"
done
tinytl train -d many -o mine.safetensors --image-size 32 --epochs 2 --threads 2 2>messages >/dev/null
echo "exit $?, $(grep -c 'left out: ' messages) left out"
tinytl eval -a mine.safetensors -d "many/train" --threads 2 --json 2>/dev/null | json_check images skipped
rm -r many mine.safetensors messages
