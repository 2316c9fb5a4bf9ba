#!/usr/bin/env bash
# Packs what a GPU's machine without a package index lacks, to lie beside its own Python 3.12 and torch:
#
#   tests/campaigns/gpu_bundle.sh [FOLDER]     makes FOLDER/site.tar.xz (FOLDER: .gpu), 43 MB, in some minutes
#
# Carry that file along with this checkout; gpu.sh there finds it as .gpu/site.tar.xz. For anything else:
#   mkdir site; xz -dc -T0 .gpu/site.tar.xz | tar xf - -C site; export PYTHONPATH=$PWD/site
#
# gpu_pins.txt says what is packed. PYTHON names an interpreter that has pip (.venv/bin/python), MINOR another Python 3.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-.gpu} minor=${MINOR:-12} work=$(mktemp -d)
export python=${PYTHON:-.venv/bin/python} minor work
trap 'rm -rf "$work"' EXIT
mkdir -p "$folder" "$work/wheels" "$work/site"

fetch() { # PIN: its wheel, which is made here where the index has none
  local platforms=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64) each
  for each in 39 34 31 28 27 24 17; do platforms+=(--platform "manylinux_2_${each}_x86_64"); done
  "$python" -m pip download -q --no-deps --only-binary=:all: --python-version "3.$minor" --implementation cp \
    "${platforms[@]}" -d "$work/wheels" "$1" 2> "$work/$1.log" ||
    "$python" -m pip wheel -q --no-deps -w "$work/wheels" "$1" 2>> "$work/$1.log" || { cat "$work/$1.log" >&2; exit 255; }
}
export -f fetch
grep -v '^#' tests/campaigns/gpu_pins.txt | xargs -P 8 -I{} bash -c 'fetch {}'
for wheel in "$work"/wheels/*.whl; do unzip -q -o "$wheel" -d "$work/site"; done
rm -rf "$work"/site/ray/{jars,dashboard/client,rllib} # Java, a web page, and what is not used here
# In blocks, which xz -T0 unpacks on as many cores.
tar -C "$work/site" --sort=name --owner=0 --group=0 --mtime=@0 -cf - . | xz -T0 --block-size=16MiB "${XZ:--6}" > "$folder/site.tar.xz"
ls -l "$folder"
