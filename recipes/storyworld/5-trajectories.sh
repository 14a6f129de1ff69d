#!/usr/bin/env bash
# The teacher's own shots, and the states on the way to them at the student's noise levels.
# Reads teacher/, latents/; writes trajectories/. Expect one file a batch.
# Stops and goes on at any moment; further arguments are passed on (--minutes 30, --set FIELD=VALUE).
set -euo pipefail
exec shotstream train trajectories --preset storyworld --run "${RUN:-runs/storyworld}" "$@"
