#!/usr/bin/env bash
# The learned codec: principal components of 4x8x8 blocks in closed form, then encoder and decoder with noise on the latents.
# Reads renders; writes codec/. Expect two to three hours of one core; 32 dB on held-out renders, 30 dB with noise of 0.2 on the latents.
# Stops and goes on at any moment; further arguments are passed on (--minutes 30, --set FIELD=VALUE).
set -euo pipefail
exec shotstream train codec --preset storyworld --run "${RUN:-runs/storyworld}" "$@"
