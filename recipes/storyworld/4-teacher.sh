#!/usr/bin/env bash
# The teacher: the same network sees the whole next shot and its context in both directions.
# Reads base/; writes teacher/. Expect samples and trait reader scores under teacher/samples.
# Stops and goes on at any moment; further arguments are passed on (--minutes 30, --set FIELD=VALUE).
set -euo pipefail
exec shotstream train teacher --preset storyworld --run "${RUN:-runs/storyworld}" "$@"
