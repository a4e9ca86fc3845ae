#!/bin/sh
# The floors: each folder may include only itself and the folders below it. tests/ and bench/ may include anything.
cd "$(dirname "$0")/.." || exit 1
status=0
check() { # folder, folders it may include
  bad=$(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$1" --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' 2>/dev/null |
    grep -vE "include[[:space:]]*\"($2)/")
  [ -z "$bad" ] && return
  echo "$bad" | sed "s#^#check-includes: #; s#\$#   ($1/ may include: $(echo "$2" | tr '|' ' '))#"
  status=1
}
check kernels 'kernels'
check runtime 'runtime|kernels'
check io      'io|runtime|kernels'
check model   'model|runtime|kernels'
check sim     'sim|io|model|runtime|kernels'
check train   'train|sim|io|model|runtime|kernels'
exit $status
