#!/bin/sh
# run.sh FOLDER SECONDS [TARGET...]: runs every fuzz target (or those) of a build of the preset `fuzz` in FOLDER for so
# long, one after the other. A corpus grows in FOLDER/corpus/TARGET; what was found lies in FOLDER/found. At the end a
# table: executions and CPU time of all runs so far, edges of the program that were reached, findings.
set -eu

build=$(cd "$1" && pwd)
seconds=$2
shift 2
[ $# -gt 0 ] || set -- $(cd "$build/fuzz" && find . -name 'fuzz_*' -type f -perm -u+x | sed 's#.*/fuzz_##' | sort)
cd "$build"
mkdir -p found logs

# $spent: seconds of processor time of all that has ended so far. A subshell would not know them.
count_processor_time() {
  times >"logs/times.$$"
  spent=$(sed -n '2{s/\([0-9]*\)m\([0-9.]*\)s/\1 \2/g;p;}' "logs/times.$$" |
    awk '{ printf "%d", 60 * ($1 + $3) + $2 + $4 }')
  rm "logs/times.$$"
}

for target in "$@"; do
  mkdir -p "corpus/$target"
  count_processor_time
  before=$spent
  ./fuzz/fuzz_"$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=512 \
    -max_len=200000 -report_slow_units=600 -print_final_stats=1 -artifact_prefix="found/$target-" "corpus/$target" "fuzz/seeds/$target" \
    >logs/"$target.log" 2>&1 || true
  # A run: seconds of processor time, executions, edges.
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' logs/"$target.log")
  edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' logs/"$target.log" | tail -n 1)
  count_processor_time
  echo "$((spent - before)) ${executions:-0} ${edges:-0}" >>"logs/$target.runs"
done

echo "| target | processor time, s | executions | edges | inputs kept | findings |"
echo "|---|---|---|---|---|---|"
n_all=0
for target in "$@"; do
  n_found=$(find found -name "$target-*" | wc -l)
  n_kept=$(find "corpus/$target" -type f | wc -l)
  n_all=$((n_all + n_found))
  awk -v target="$target" -v kept="$n_kept" -v found="$n_found" '
    { seconds += $1; executions += $2; edges = $3 }
    END { printf "| %s | %d | %d | %d | %d | %d |\n", target, seconds, executions, edges, kept, found }' \
    "logs/$target.runs"
done
[ "$n_all" = 0 ] || exit 1
