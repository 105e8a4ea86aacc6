# The keys that other programs read; the figures themselves differ by machine.
for task in "train --method last --batch 2" predict; do
  tinytl bench --task $task --image-size 32 --threads 1 --seconds 0.1 --json >out
  json_check task method batch <out
  json_check images_per_second peak_rss_bytes planned_bytes macs peak_flops share_of_peak profile <out |
    grep -c '^[1-9][^ ]* [1-9][^ ]* [1-9][^ ]* [1-9][^ ]* [1-9][^ ]* [01][.][^ ]* -$'
done

# Where the time goes: pictures of a folder, which are decoded.
tinytl bench --profile --data "$fixtures/pictures" --image-size 32 --threads 1 --seconds 0.1 --json >out
json_check profile <out | grep -o '"work":"waiting for pictures"'
json_check profile <out | grep -o '"work":"lite, weight gradients","direction":"backward"'
json_check forks join_seconds <out
json_check load_seconds setup_seconds <out | grep -c '[1-9].* .*[1-9]'

# A folder is listed once, though it is trained on twice.
cp -r "$fixtures/pictures/train" set
echo "no picture" >"set/$(ls set | head -n 1)/text.jpg"
tinytl bench --data set --image-size 32 --threads 1 --seconds 0.1 2>&1 >/dev/null | grep -c 'left out'

# Of a class of which the picture that is drawn cannot be decoded others are taken.
cut=$(find set -name '*.png' | sort | head -n 1)
head -c 300 "$cut" >cut.png && mv cut.png "$cut"
tinytl bench --data set --batch 1 --image-size 32 --threads 1 --seconds 0.001 --json 2>/dev/null | json_check batch

# For people.
tinytl bench --profile --classes 300 --batch 4 --image-size 32 --threads 1 --seconds 0.1 | sed -e 's/  *[0-9][0-9.]*.*//' -e '/, backward$/d'

# One picture in all.
show tinytl bench --batch 1 --image-size 32 --threads 1 --seconds 0.1

run tinytl bench --classes 1
run tinytl bench --data nowhere
run tinytl bench --task predict --data nowhere --profile
run tinytl bench --data nowhere --classes 5
