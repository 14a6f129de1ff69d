#!/usr/bin/env bash
# Runs one stage on the cards of this machine, or of several: start it on each with the same three variables.
#   VIDEOS  the CSV of your videos in the published layout      RUN  where the run lives, on a disk that all see
#   NODES, RENDEZVOUS  how many machines, and host:port of one of them; nothing else tells them apart
set -euo pipefail
nodes=(--standalone)
if [[ -n "${NODES:-}" ]]; then
    nodes=(--nnodes "$NODES" --rdzv-backend c10d --rdzv-endpoint "${RENDEZVOUS:?host:port of one machine}" --rdzv-id shotstream)
fi
board=(--board)
[[ $1 == trajectories ]] && board=() # which has no figures by step
exec torchrun "${nodes[@]}" --nproc-per-node "${GPUS:-gpu}" --no-python -- \
    shotstream train "$1" --preset wan-1.3b --run "${RUN:-runs/wan-1.3b}" --device cuda "${board[@]}" \
    --set source.manifest="${VIDEOS:?the CSV of your videos}" "${@:2}"
