#!/usr/bin/env bash
# The whole recipe on one large card: samples are made by the host's cores while the stages run, and wait for nobody.
# Reads nothing, or codec and text encoder of a model (WARM_START=storyworld; with BASE=1 its base too, to train on).
# Can be stopped and run again. Arguments are passed on to every stage (--set FIELD=VALUE).
#   RUN the run's directory    WORKERS processes that make samples (all cores but three)    PRESET (tiny: to see that it works)
set -euo pipefail
run=${RUN:-runs/storyworld-card} cores=$(nproc)
workers=${WORKERS:-$((cores > 4 ? cores - 3 : 1))}

stage() { # NAME ARGUMENT...
    shotstream train "$1" --preset "${PRESET:-storyworld-card}" --run "$run" "${@:2}"
}

if [[ -n ${WARM_START:-} ]]; then
    stage warm-start codec text ${BASE:+base} --model "$WARM_START" "$@"
else
    stage codec "$@"
    stage text "$@"
fi
stage samples --workers "$workers" "$@" > "$run/samples.log" 2>&1 &
samples=$!
trap 'kill $samples 2>/dev/null || true' EXIT
until [[ -e $run/latents/shots/00000.safetensors ]]; do
    kill -0 $samples 2>/dev/null || { cat "$run/samples.log" >&2; exit 1; }
    sleep 1
done
for name in base teacher trajectories init stage1 stage2; do stage "$name" "$@"; done
