#!/bin/sh
# Installs iddpm, without root by default, and removes it again.
#
#   ./install.sh [--prefix DIR] [--libtorch DIR]
#   ./install.sh --uninstall [--prefix DIR]
#
# libtorch is the one of --libtorch, of LIBTORCH, or of the installed Python torch of the right version; else it is
# downloaded into the cache folder, 550 MB for the CPU, and with an NVIDIA driver the CUDA libraries too.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
prefix=${PREFIX:-$HOME/.local}
libtorch=
action=install

usage() { sed -n '2,8s/^# \{0,1\}//p' "$0"; }
fail() { echo "install.sh: $*" >&2; exit 1; }

while [ $# -gt 0 ]; do
  case $1 in
    --prefix=*) prefix=${1#*=} ;;
    --prefix) [ $# -gt 1 ] || fail "--prefix needs a folder"; prefix=$2; shift ;;
    --libtorch=*) libtorch=${1#*=} ;;
    --libtorch) [ $# -gt 1 ] || fail "--libtorch needs a folder"; libtorch=$2; shift ;;
    --uninstall) action=uninstall ;;
    -h | --help) usage; exit ;;
    *) echo "install.sh: unknown argument $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done

shared="man/man1/iddpm.1 bash-completion/completions/iddpm zsh/site-functions/_iddpm fish/vendor_completions.d/iddpm.fish"

remove() {
  rm -f "$prefix/bin/iddpm"
  for file in $shared; do rm -f "$prefix/share/$file"; done
  rm -rf "$prefix/lib/iddpm"
}

if [ $action = uninstall ]; then
  [ -e "$prefix/lib/iddpm/iddpm" ] || fail "iddpm is not installed in $prefix: name its folder by --prefix"
  remove
  echo "removed iddpm from $prefix; a downloaded libtorch stays in ${XDG_CACHE_HOME:-$HOME/.cache}/iddpm"
  exit
fi

[ "$(uname -s) $(uname -m)" = "Linux $(basename "$here" | sed 's/.*-linux-//')" ] || fail "this package is for another system than $(uname -s) $(uname -m)"
mkdir -p "$prefix/bin" "$prefix/lib" 2>/dev/null || fail "$prefix cannot be written: choose a folder by --prefix, or run as root"

if [ -n "$libtorch" ]; then
  LIBTORCH=$libtorch
  export LIBTORCH
fi
command -v python3 >/dev/null || [ -n "${LIBTORCH:-}" ] || fail "python3 with pip is needed to find or fetch libtorch: install it, or name libtorch $(cat "$here/setup/LIBTORCH_VERSION") by --libtorch"
cuda=
if [ -e "$here/lib/libiddpm_cuda.so" ] && { [ -e /proc/driver/nvidia/version ] || [ -e /dev/dxg ]; }; then cuda=--cuda-run; fi
if command -v python3 >/dev/null; then
  libtorch=$(python3 "$here/setup/scripts/libtorch.py" $cuda) || exit 1
else
  libtorch=$LIBTORCH
fi
[ -e "$libtorch/lib/libtorch_cpu.so" ] || fail "$libtorch contains no libtorch: lib/libtorch_cpu.so is missing"

remove
mkdir -p "$prefix/lib/iddpm"
cp "$here"/lib/* "$here/LICENSE" "$here/NOTICE" "$prefix/lib/iddpm/"
ln -s "$libtorch" "$prefix/lib/iddpm/libtorch"
ln -s ../lib/iddpm/iddpm "$prefix/bin/iddpm"
for file in $shared; do
  mkdir -p "$(dirname "$prefix/share/$file")"
  cp "$here/share/$file" "$prefix/share/$file"
done
"$prefix/bin/iddpm" version >/dev/null || fail "the installed program does not start"
echo "installed $("$prefix/bin/iddpm" --version) in $prefix; check the machine by: iddpm doctor"
case ":$PATH:" in
  *":$prefix/bin:"*) ;;
  *) echo "add $prefix/bin to PATH" ;;
esac
