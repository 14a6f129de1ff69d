#!/usr/bin/env bash
# The next-shot teacher from Wan2.1-T2V-1.3B: self-attention layers only, 10,000 steps of 64 videos.
# Reads the videos of $VIDEOS, the hub's weights; writes latents/, teacher/. One card of 80 GB or more, or as many as torchrun is told of (see launch.sh).
set -euo pipefail
exec "$(dirname "$0")/launch.sh" teacher "$@"
