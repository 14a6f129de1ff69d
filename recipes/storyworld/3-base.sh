#!/usr/bin/env bash
# The causal base: flow matching on single pictures, then on shots with their context, chunk by chunk.
# Reads codec/, text/; writes latents/, base/. Expect three hours of two cores; place, time and framing appear within an hour, characters after that.
# Stops and goes on at any moment; further arguments are passed on (--minutes 30, --set FIELD=VALUE).
set -euo pipefail
exec shotstream train base --preset storyworld --run "${RUN:-runs/storyworld}" "$@"
