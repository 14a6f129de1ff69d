#!/usr/bin/env bash
# The model so far as a directory of weights, then its scores on a hundred stories it has never seen.
# Reads the latest stage; writes a directory (the argument, or storyworld-model), its scores as .json and a sheet as .png
# beside it. A directory that is there already is scored as it is: remove it to export what has been trained since.
set -euo pipefail
model=${1:-storyworld-model} run=${RUN:-runs/storyworld}
[[ -e $model ]] || shotstream train export --preset storyworld --run "$run" -o "$model"
exec shotstream evaluate --model "$model" --stories 100 --json "$model.json" --sheet "$model.png"
