#!/bin/sh
# Rules that a compiler does not know. Each line printed is one breach.
cd "$(dirname "$0")/.." || exit 1
status=0
forbid() { # what, pattern, files...
  what=$1 pattern=$2
  shift 2
  bad=$(grep -nE "$pattern" "$@" /dev/null | grep -vE ':[0-9]+:[[:space:]]*//')
  [ -z "$bad" ] && return
  echo "$bad" | sed "s#^#lint: $what: #"
  status=1
}
all=$(find kernels runtime io model sim train -name '*.h' -o -name '*.cpp' -o -name '*.cu')
kernels=$(find kernels -name '*_cpu.cpp' -o -path 'kernels/core/*.h' -o -name '*_math.h')
# Floating-point atomics add in an order that changes from run to run.
forbid 'floating-point atomic' 'atomic<(float|double)>|atomic_ref<(float|double)>|atomicAdd\((float|double)' $all
# The host's libm differs between processors and releases, so no state may pass through it. References may use it.
forbid 'libm where state is touched' '(^|[^_[:alnum:]:.])(std::|__builtin_)?(exp|exp2|expm1|log|log2|log10|log1p|pow|tanh|erf|sin|cos|tan|atan|atan2)f?\((float|double)\)|std::(exp|exp2|expm1|log|log2|log10|log1p|pow|tanh|sinh|cosh|erf|sin|cos|tan|atan|atan2)[fl]?\(' $kernels
# Contraction and value-changing optimisation would change bits.
forbid 'flag that changes bits' 'ffast-math|funsafe-math|Ofast|ffp-contract=(fast|on)' $all
forbid 'device code outside kernels/' '__global__' $(find runtime io model sim train -type f -name '*.*')
exit $status
