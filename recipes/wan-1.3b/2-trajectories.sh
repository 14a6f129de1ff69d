#!/usr/bin/env bash
# 5,000 trajectories of the teacher: 50 Euler steps, guidance 6.
# Reads teacher/, latents/; writes trajectories/. One card of 80 GB or more, or as many as torchrun is told of (see launch.sh).
set -euo pipefail
exec "$(dirname "$0")/launch.sh" trajectories "$@"
