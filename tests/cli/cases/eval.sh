# Pictures that are answered wrongly: as many as are counted, and the surest first.
pictures=$fixtures/pictures
tinytl eval -a "$fixtures/adapter.safetensors" -d "$pictures" --json -q --wrong >out
tail -n 1 out | json_check event measured_on
wrong=$(grep -c '"event":"wrong"' out)
tail -n 1 out | json_check images top1 | awk -v wrong="$wrong" '{ print $1 * (1 - $2) - wrong < 0.5 ? "all" : "too few" }'
grep '"event":"wrong"' out | json_check probability | sort -grc && echo sorted
tinytl eval -a "$fixtures/adapter.safetensors" -d "$pictures" -q --wrong |
  awk -F '\t' 'NR == 1 { print } NF == 4 && $1 ~ $2 && $2 != $3 { n++ } END { print n }' | sed "s/^$wrong\$/all/"
# That there are none is said.
tinytl predict -a "$fixtures/adapter.safetensors" "$pictures/test" | awk -F '\t' '$1 ~ "/" $2 "/" { print $1 }' |
  while read -r path; do
    class=right/$(basename "$(dirname "$path")")
    mkdir -p "$class"
    cp "$path" "$class"
  done
tinytl eval -a "$fixtures/adapter.safetensors" -d right -q --wrong 2>/dev/null | head -n 1
