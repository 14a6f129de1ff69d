#!/usr/bin/env bash
# StoryWorld's scores of every policy, in one table, OUT/scores.md (runs/policies): first with the same weights, which were
# trained for ShotStream's pattern of attention; then those of TRAINED again, each after a short fine-tune of these weights
# for its own pattern. What is done is kept, so it can be stopped and run again.
#   STORIES (20) of SHOTS (2) shots; with more, the prompts of HoloCine do not fit the embedded text encoder
#   POLICIES (all)    TRAINED (those that make all shots at once, and lct)    STEPS (300) of VIDEOS (2) videos
#   MODEL (storyworld) of PRESET (storyworld)    DEVICE (auto)
set -uo pipefail
out=${OUT:-runs/policies} model=${MODEL:-storyworld} preset=${PRESET:-storyworld} device=${DEVICE:-auto}
stories=${STORIES:-20} shots=${SHOTS:-2} steps=${STEPS:-300} videos=${VIDEOS:-2}
mkdir -p "$out"
names='import json, sys; print(*(one["name"] for one in json.load(sys.stdin)["policies"]))'
policies=${POLICIES:-$(shotstream policies --json - | python -c "$names")}
trained=${TRAINED-echoshot cinetrans holocine holocine_full mask2dit lct full}
scores=()

score() { # name in the table, model, policy
    echo "== $1"
    [[ -e $out/$1.json ]] || shotstream evaluate --model "$2" --device "$device" --policy "$3" --stories "$stories" \
        --shots "$shots" --save "$out/$1" --json "$out/$1.json"
    [[ -e $out/$1.json ]] && scores+=("$1=$out/$1.json")
}

for policy in $policies; do
    score "$policy" "$model" "$policy"
done
for policy in $trained; do
    run=(--preset "$preset" --run "$out/training/$policy" --device "$device" --set "pretrained=$model")
    settings=(--set "policy.policy=$policy" --set "policy.videos=$videos" --set "policy.shots=[$shots]")
    [[ -e $out/models/$policy ]] || {
        shotstream train policy "${run[@]}" "${settings[@]}" --steps "$steps" &&
            shotstream train export "${run[@]}" --stage policy -o "$out/models/$policy"
    } || continue
    score "$policy-trained" "$out/models/$policy" "$policy"
done
shotstream evaluate compare "${scores[@]}" -o "$out/table.md" || exit
{
    echo "The weights of $model under every policy: $stories stories of $shots shots. They were trained for shotstream"
    echo "alone; all other rows are untrained transfer, but for those called trained: $steps steps of $videos videos."
    echo
    cat "$out/table.md"
} > "$out/scores.md"
rm "$out/table.md"
echo "$out/scores.md"
