#!/usr/bin/env bash
# Causal init: 2,000 steps of regression on them.
# Reads trajectories/, teacher/; writes init/. One card of 80 GB or more, or as many as torchrun is told of (see launch.sh).
set -euo pipefail
exec "$(dirname "$0")/launch.sh" init "$@"
