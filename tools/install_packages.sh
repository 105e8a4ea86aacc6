#!/bin/sh
# install_packages.sh GROUP...: installs what is missing of the packages that a group of work
# needs. Groups: build, test, clang, fuzz, lint, format, arm64, armhf, mpi. Debian and Ubuntu; elsewhere it names them.
set -eu

packages_of() {
  case $1 in
    build) echo gcc make cmake pkg-config libc6-dev libjpeg-dev libpng-dev libjansson-dev libmd-dev ;;
    test) echo libcmocka-dev ;;
    clang) echo clang ;;
    fuzz) echo clang libclang-rt-dev ;;
    lint) echo clang-tidy cppcheck git ;;
    mpi) echo libopenmpi-dev openmpi-bin openssh-client procps ;;
    format) echo clang-format git ;;
    arm64 | armhf)
      [ "$1" = armhf ] && echo gcc-arm-linux-gnueabihf qemu-user || echo gcc-aarch64-linux-gnu qemu-user
      for library in libjpeg-dev libpng-dev libjansson-dev libmd-dev libcmocka-dev; do
        echo "$library:$1"
      done
      ;;
    *)
      echo "install_packages.sh: no group '$1'" >&2
      exit 2
      ;;
  esac
}

wanted=
for group in "$@"; do
  packages=$(packages_of "$group")
  wanted="$wanted $packages"
done

if ! command -v apt-get >/dev/null; then
  # Without Debian's package manager what is there cannot be told from names: try the build.
  if pkg-config --exists libjpeg libpng jansson libmd 2>/dev/null; then exit 0; fi
  echo "These packages are needed (names as in Debian):$wanted" >&2
  echo "Please install them with your system's package manager and start again." >&2
  exit 1
fi

missing=
for package in $wanted; do
  case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
    *"install ok installed"*) ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "Please install these packages as root and start again:$missing" >&2
    exit 1
  fi
  as_root=sudo
fi

for architecture in arm64 armhf; do
  case $missing in
    *:$architecture*) $as_root dpkg --add-architecture $architecture ;;
  esac
done
echo "installing:$missing" >&2
$as_root apt-get update -q >&2
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >&2
