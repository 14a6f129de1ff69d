#!/usr/bin/env bash
# Inter-shot self-forcing over five-shot stories: 1,000 steps, adapters of rank 256.
# Reads stage1/, teacher/; writes stage2/. One card of 80 GB or more, or as many as torchrun is told of (see launch.sh).
set -euo pipefail
exec "$(dirname "$0")/launch.sh" stage2 "$@"
