#!/bin/sh
# Prints those of the Debian packages given as arguments that are not installed, on one line.
missing=
for p in "$@"; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $p"
done
echo "${missing# }"
