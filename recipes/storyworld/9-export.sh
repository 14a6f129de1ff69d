#!/usr/bin/env bash
# The model so far as a directory of weights, then its scores on a hundred stories it has never seen.
set -euo pipefail
shotstream train export --preset storyworld --run "${RUN:-runs/storyworld}" -o "${1:-storyworld-model}"
exec shotstream evaluate --model "${1:-storyworld-model}" --stories 100 --sheet "${1:-storyworld-model}.png"
