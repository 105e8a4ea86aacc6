# Help goes to stdout with exit code 0; without a command it is an error.
run tinytl help
show tinytl help help
run tinytl train --help
run tinytl help predict
for command in plan eval info import init pretrain search bench; do
  # Examples come first.
  tinytl $command --help | sed -n 3p
  tinytl $command -h | grep -c -- --json
done
show tinytl train -qh
show tinytl --help
show tinytl
tinytl --version | sed 's/ (.*//'
