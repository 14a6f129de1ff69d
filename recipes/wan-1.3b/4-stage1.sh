#!/usr/bin/env bash
# Intra-shot self-forcing with ground-truth history: 500 steps, one generator update in five.
# Reads init/, teacher/, latents/; writes stage1/. One card of 80 GB or more, or as many as torchrun is told of (see launch.sh).
set -euo pipefail
exec "$(dirname "$0")/launch.sh" stage1 "$@"
