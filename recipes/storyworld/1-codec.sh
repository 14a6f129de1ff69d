#!/usr/bin/env bash
# The embedded codec: principal components of 4x8x8 blocks in closed form, then the decoder's refinement.
# Reads renders; writes codec/. Expect an hour of one core; 30 dB on held-out renders; the linear maps alone give 28.7.
# Stops and goes on at any moment; further arguments are passed on (--minutes 30, --set FIELD=VALUE).
set -euo pipefail
exec shotstream train codec --preset storyworld --run "${RUN:-runs/storyworld}" "$@"
