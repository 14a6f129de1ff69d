#!/usr/bin/env bash
# StoryWorld's scores of every policy with the same weights, in one table, OUT/scores.md (runs/policies). Stories that are
# there are kept, so it can be stopped and run again. The weights were trained for ShotStream's pattern of attention: the
# other rows show what they make under a pattern they have not seen, and nothing of the systems with weights of their own.
#   STORIES (20) of SHOTS (3) shots    POLICIES (all)    MODEL (storyworld)    DEVICE (auto)
set -uo pipefail
out=${OUT:-runs/policies} model=${MODEL:-storyworld} stories=${STORIES:-20} shots=${SHOTS:-3} device=${DEVICE:-auto}
mkdir -p "$out"
names='import json, sys; print(*(one["name"] for one in json.load(sys.stdin)["policies"]))'
policies=${POLICIES:-$(shotstream policies --json - | python -c "$names")}
scores=()
for policy in $policies; do
    echo "== $policy"
    shotstream evaluate --model "$model" --device "$device" --policy "$policy" --stories "$stories" --shots "$shots" \
        --save "$out/$policy" --json "$out/$policy.json" && scores+=("$policy=$out/$policy.json")
done
shotstream evaluate compare "${scores[@]}" -o "$out/table.md" || exit
{
    echo "The weights of $model under every policy: $stories stories of $shots shots. They were trained for shotstream"
    echo "alone; all other scores are untrained transfer."
    echo
    cat "$out/table.md"
} > "$out/scores.md"
rm "$out/table.md"
echo "$out/scores.md"
