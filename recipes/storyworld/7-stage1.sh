#!/usr/bin/env bash
# Intra-shot self-forcing: shots the student made itself, after a true history, matched to the teacher.
# Reads init/, teacher/, latents/; writes stage1/. Expect sharp shots in four steps.
# Stops and goes on at any moment; further arguments are passed on (--minutes 30, --set FIELD=VALUE).
set -euo pipefail
exec shotstream train stage1 --preset storyworld --run "${RUN:-runs/storyworld}" "$@"
