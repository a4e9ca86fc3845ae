#!/usr/bin/env bash
# From nothing to a page of results: drives of the built-in world, tokenizer, pose network, world model, samples, measures.
#
#   train/recipes/world.sh demo|reproduce OUT [SECONDS_OF_BUILD]
#
# `demo` begins anew and takes minutes, `reproduce` takes about an hour and goes on where it was stopped. With DREAMROAD_DATA
# set, KITTI's frames are learnt and measured too: frames 0 to 87 are trained on, 88 to 107 are held out.
set -euo pipefail

recipe=${1:?demo or reproduce}
out=${2:?a folder}
build_s=${3:-0}
dr="$(dirname "$0")/../../build/dreamroad"

case $recipe in
  demo)
    rm -rf "$out"
    drives=50 tokenizer=(--steps 5500) pose=(--steps 850) world=() kitti_tokenizer=(--steps 600) kitti_world=(--steps 300)
    evaluation=(--samples 64 --rollouts 8 --deviations 16)
    ;;
  reproduce)
    drives=150 tokenizer=(--steps 12000) pose=(--steps 1500)
    world=(--steps 7000 --layers 6 --channels 256 --heads 8 --average 0.999)
    kitti_tokenizer=(--steps 1500) kitti_world=(--steps 1000)
    evaluation=(--samples 192 --rollouts 32 --deviations 32)
    ;;
  *)
    echo "world.sh: '$recipe' is no recipe; accepted: demo, reproduce" >&2
    exit 2
    ;;
esac
mkdir -p "$out"

started=$(date +%s.%N)
seconds=(--seconds "build=$build_s")
elapsed() { awk -v a="$1" -v b="$(date +%s.%N)" -v c="${2:-0}" 'BEGIN { printf "%.1f", b - a + c }'; }

# part NAME COMMAND...: runs it unless it was finished before; it is when its mark is there.
part() {
  local name=$1 mark="$out/.$1.done" begun
  shift
  if [ ! -e "$mark" ]; then
    echo
    echo "== $name"
    begun=$(date +%s.%N)
    "$@"
    elapsed "$begun" > "$mark"
  fi
  seconds+=(--seconds "$name=$(cat "$mark")")
}

size=(--width 128 --height 64)
tokenizer_file="$out/tokenizer/tokenizer.safetensors"
world_file="$out/world/world.safetensors"

data() {
  # A driver who wanders and whose hand shakes: what a pose changes in the picture cannot be guessed from the road.
  "$dr" simulate --quiet --camera narrow --out "$out/data" --envs "$drives" --wander 0.4 --steering-error 0.005 --lane-change-period 12 "${size[@]}" --no-depth --no-labels --seed 11
  "$dr" simulate --quiet --camera narrow --out "$out/held_out" --envs 8 "${size[@]}" --no-depth --no-labels --seed 77
}
samples() {
  local how=(--world "$world_file" --tokenizer "$tokenizer_file" --data "$out/held_out" --frames 30)
  "$dr" sample "${how[@]}" --pose log --out "$out/sample/log"
  "$dr" sample "${how[@]}" --pose deviation --deviation-m 0.5 --out "$out/sample/right"
  "$dr" sample "${how[@]}" --pose deviation --deviation-m -0.5 --out "$out/sample/left"
  "$dr" sample "${how[@]}" --pose plan --out "$out/sample/plan"
}

part data data
part tokenizer "$dr" train tokenizer --data "$out/data" "${size[@]}" "${tokenizer[@]}" --resume --out "$out/tokenizer" \
  --json "$out/tokenizer/result.json"
part encode "$dr" encode --quiet --tokenizer "$tokenizer_file" --data "$out/data"
part world "$dr" train world --preset demo --tokenizer "$tokenizer_file" --data "$out/data" "${world[@]}" --resume \
  --out "$out/world" --json "$out/world/result.json"
part pose "$dr" train pose "${pose[@]}" --tokenizer "$tokenizer_file" --resume --out "$out/pose" --json "$out/pose/result.json"
part sample samples
part eval "$dr" eval world --world "$world_file" --tokenizer "$tokenizer_file" --pose "$out/pose/pose.safetensors" \
  --data "$out/held_out" "${evaluation[@]}" --out "$out/eval"

page=(--world "$out/eval" --tokenizer-json "$out/tokenizer/result.json" --world-json "$out/world/result.json"
  --log "$out/tokenizer/tokenizer.log.jsonl" --log "$out/world/world.log.jsonl")
drive="${DREAMROAD_DATA:-}/kitti_raw_0001"
if [ -n "${DREAMROAD_DATA:-}" ] && [ -d "$drive" ]; then
  kitti() {
    local k="$out/kitti" size=(--width 192 --height 48)
    "$dr" train tokenizer --data "$drive" --frames 0:88 "${size[@]}" --holdout 0 --init "$tokenizer_file" \
      "${kitti_tokenizer[@]}" --resume --out "$k/tokenizer"
    "$dr" train world --preset kitti --data "$drive" --frames 0:88 --tokenizer "$k/tokenizer/tokenizer.safetensors" \
      --init "$world_file" "${kitti_world[@]}" --resume --out "$k/world"
    "$dr" eval world --world "$k/world/world.safetensors" --tokenizer "$k/tokenizer/tokenizer.safetensors" --data "$drive" \
      --targets 88:108 --samples 8 --rollouts 0 --anchor-gap 2 --out "$k/eval"
  }
  part kitti kitti
  page+=(--kitti "$out/kitti/eval" --log "$out/kitti/world/world.log.jsonl")
else
  echo
  echo "DREAMROAD_DATA names no folder with kitti_raw_0001: no figures on real frames"
fi
"$dr" report "${page[@]}" "${seconds[@]}" --seconds "total=$(elapsed "$started" "$build_s")" --out "$out" \
  --title "A driving world model: $recipe"
