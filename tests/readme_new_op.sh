#!/bin/sh
# Follows "Adding an op" of kernels/README.md to the letter in a scratch copy of the repository: writes the files of its cpp
# blocks, then runs its sh blocks in order. Succeeds if each of them does.
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
git ls-files -z | xargs -0 cp -p --parents -t "$scratch"
if [ -d build/release ]; then mkdir -p "$scratch/build" && cp -a build/release "$scratch/build/"; fi  # objects that need no rebuild
cd "$scratch"
awk '
  /^## /{section = $0}
  section != "## Adding an op" {next}
  /^```cpp/{block = "cpp"; next}
  /^```sh/{block = "sh"; next}
  /^```/{block = ""; file = ""; next}
  block == "cpp" && /^\/\/ file: /{file = $3; dir = file; sub("/[^/]*$", "", dir); system("mkdir -p " dir); next}
  block == "cpp" {print > file}
  block == "sh" {print > "steps.sh"}
' kernels/README.md
echo "following:" && sed 's/^/  /' steps.sh
sh -eux steps.sh
build/dreamroad --list-ops | grep squared_relu
