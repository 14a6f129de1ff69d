#!/usr/bin/env bash
# Inter-shot self-forcing: whole stories over the student's own history; low-rank adapters.
# Reads stage1/, teacher/; writes stage2/. Expect no decay from shot to shot.
# Stops and goes on at any moment; further arguments are passed on (--minutes 30, --set FIELD=VALUE).
set -euo pipefail
exec shotstream train stage2 --preset storyworld --run "${RUN:-runs/storyworld}" "$@"
