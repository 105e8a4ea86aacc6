# The keys that other programs read; the figures themselves differ by machine.
for task in train predict; do
  tinytl bench --task $task --method last --batch 2 --image-size 32 --threads 1 --seconds 0.1 --json >out
  json_check task method batch <out
  json_check images_per_second peak_rss_bytes planned_bytes <out | grep -c '^[1-9][^ ]* [1-9][^ ]* [1-9]'
done
