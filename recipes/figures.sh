#!/usr/bin/env bash
# The figures of docs/performance.md on this machine's card, one command each; a part that fails does not stop the others.
# Writes OUT (runs/figures). How long it takes on a card has not been measured yet.
#   REFERENCE a checkout of the published code (left out without one)    MODEL (tiny: to see that it works)    DEVICE
set -uo pipefail
out=${OUT:-runs/figures} model=${MODEL:-wan-1.3b} device=${DEVICE:-cuda}
mkdir -p "$out"
fast=(--compile)
[[ $device == cuda* ]] && fast+=(--graphs)

bench() { # NAME ARGUMENT...
    echo "== $1: shotstream bench ${*:2}"
    shotstream bench --model "$model" --random-weights --device "$device" --json "$out/$1.json" "${@:2}" |
        tee "$out/$1.txt"
}

bench fast "${fast[@]}" --shots 3 --html "$out/fast.html"
bench plain --shots 2
bench text-on-cpu "${fast[@]}" --shots 1 --text-device cpu
[[ -n ${REFERENCE:-} ]] && bench versus "${fast[@]}" --shots 1 --vs-reference "$REFERENCE"
bench torch-attention "${fast[@]}" --shots 1 --attention torch
[[ $device == cuda* ]] && bench fp8 "${fast[@]}" --shots 1 --fp8
for dtype in float32 bfloat16; do
    echo "== verify in $dtype"
    shotstream verify tests/golden --device "$device" --dtype "$dtype" > "$out/verify-$dtype.txt"
    tail -n 1 "$out/verify-$dtype.txt"
done
