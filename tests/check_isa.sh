#!/bin/sh
# The linker keeps one copy of a weak symbol (a template of the standard library, say) and may take it from any object. So
# in objects compiled for a raised instruction set, weak symbols outside that instruction set's namespace must hold
# baseline instructions only; else the program would crash on a processor without it.
# Usage: check_isa.sh OBJECT...
status=0
for object in "$@"; do
  isa=$(echo "$object" | sed -n 's/.*\.\(avx2\|avx512\)\.o$/\1/p')
  [ -z "$isa" ] && continue
  weak=$(nm -C "$object" | awk -v isa="dr::$isa::" '$2 ~ /^[WV]$/ && index($0, isa) == 0 {print 1; exit}')
  [ -z "$weak" ] && continue
  bad=$(nm "$object" | awk '$2 == "W" {print $3}' | while read -r symbol; do
    name=$(c++filt "$symbol")
    case "$name" in *"dr::$isa::"*) continue ;; esac
    if objdump -d --no-show-raw-insn --disassemble="$symbol" "$object" | grep -qE '^ +[0-9a-f]+:[[:space:]]+v[a-z]'; then echo "$name"; fi
  done)
  if [ -n "$bad" ]; then
    echo "$bad" | sed "s#^#check-isa: $object: weak symbol with $isa instructions: #"
    status=1
  fi
done
exit $status
