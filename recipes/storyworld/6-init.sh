#!/usr/bin/env bash
# The student begins: causal again, it learns to end a trajectory from any of its kept states.
# Reads trajectories/, base/; writes init/. Expect four steps make pictures, blurred where the teacher is sharp.
# Stops and goes on at any moment; further arguments are passed on (--minutes 30, --set FIELD=VALUE).
set -euo pipefail
exec shotstream train init --preset storyworld --run "${RUN:-runs/storyworld}" "$@"
