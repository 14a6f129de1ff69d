#!/usr/bin/env bash
# The text encoder and its tokenizer: it learns to read every trait out of a caption, and is frozen after that.
# Reads captions; writes text/. Expect seven minutes of one core; a loss near 0.01.
# Stops and goes on at any moment; further arguments are passed on (--minutes 30, --set FIELD=VALUE).
set -euo pipefail
exec shotstream train text --preset storyworld --run "${RUN:-runs/storyworld}" "$@"
