#!/usr/bin/env bash
# What the paper ablates (its Tables 3 and 4): which frames are remembered, which captions they attend to, how they enter
# the network, which layers are trained, what tells shots apart, and the stages of distillation. Each is a switch of the
# preset (docs/training.md).
# Reads codec, text and latents of a run (RUN); for the layers its base, for the stages its teacher and init too. Every
# model of a group has the same steps, in every seed. Writes a run a model and seed, scores, and tables and a chart a
# group, into OUT. Can be stopped and run again. Arguments are changes of the preset for all of them: FIELD=VALUE.
#   WHAT which of "context captions injection layers indicator stages" (all)    SEEDS "0 1"
#   BASE_STEPS, TEACHER_STEPS, DISTILL_STEPS steps of a model (6000, 2000, 2000)
#   WARM_START a model of this shape whose weights the bases train on from, instead of beginning afresh with pictures;
#   for the layers it is the base itself
#   STORIES, SHOTS what the trait reader scores (0 stories: nothing)    ERROR_STORIES where models predict from noise (50)
#   PRESET, DEVICE
# To see that it works, in minutes: PRESET=tiny RUN=runs/tiny BASE_STEPS=3 TEACHER_STEPS=2 DISTILL_STEPS=2 STORIES=1 SHOTS=2
set -euo pipefail
run=$(realpath "${RUN:-runs/storyworld}") out=${OUT:-runs/ablations} seeds=${SEEDS:-0 1}
base_steps=${BASE_STEPS:-6000} distill_steps=${DISTILL_STEPS:-2000} teacher_steps=${TEACHER_STEPS:-2000}
device=${DEVICE:-auto} stories=${STORIES:-50}
picture_steps=$((base_steps / 3))
[[ -n ${WARM_START:-} ]] && picture_steps=0
every=(--preset "${PRESET:-storyworld}" --device "$device")
for change in "$@"; do every+=(--set "$change"); done
mkdir -p "$out/scores" "$run/latents"
out=$(realpath "$out")

share() { # DIR PART...: what a model does not train, it takes from the run
    mkdir -p "$1"
    for part in "${@:2}"; do ln -sfn "$run/$part" "$1/$part"; done
}

train() { # STAGE DIR ARGUMENT...
    shotstream train "$1" --run "$2" "${every[@]}" "${@:3}"
}

score() { # NAME SEED ARGUMENT...: exports a model and lets the trait reader score it, once
    local dir=$out/$1-$2 scores=$out/scores/$1-$2.json
    [[ -e $scores ]] && return
    rm -rf "$dir/model"
    train export "$dir" "${@:3}" -o "$dir/model"
    ((stories)) || return 0
    shotstream evaluate --model "$dir/model" --device "$device" --stories "$stories" --shots "${SHOTS:-5}" \
        --sheet "$dir/sheet.png" --json "$scores"
}

base() { # NAME LATENTS CHANGE...: LATENTS is `shared`, or the name of samples of its own kind
    for seed in $seeds; do
        local dir=$out/$1-$seed
        local choice=(--set seed="$seed")
        for change in "${@:3}"; do choice+=(--set "$change"); done
        share "$dir" codec text
        if [[ $2 == shared ]]; then share "$dir" latents; else
            mkdir -p "$out/latents-$2"
            ln -sfn "$out/latents-$2" "$dir/latents"
        fi
        [[ -z ${WARM_START:-} ]] || train warm-start "$dir" "${choice[@]}" base --model "$WARM_START"
        train base "$dir" "${choice[@]}" --steps "$base_steps" --set base.picture_steps="$picture_steps"
        score "$1" "$seed" "${choice[@]}"
    done
}

teacher() { # NAME WEIGHTS: a teacher of which these weights are trained, "attention" or "all"
    for seed in $seeds; do
        local dir=$out/$1-$seed choice=(--set seed="$seed" --set teacher.trained="$2")
        share "$dir" codec text latents
        if [[ -n ${WARM_START:-} ]]; then
            train warm-start "$dir" "${choice[@]}" base --model "$WARM_START"
        else share "$dir" base; fi
        train teacher "$dir" "${choice[@]}" --steps "$teacher_steps"
        score "$1" "$seed" "${choice[@]}" --stage teacher
    done
}

distilled() { # NAME STEPS_OF_STAGE_1 STEPS_OF_STAGE_2: a stage of 0 steps is left out
    for seed in $seeds; do
        local dir=$out/$1-$seed choice=(--set seed="$seed")
        (($2)) || choice+=(--set stage2.start=init)
        share "$dir" codec text latents teacher init
        (($2)) && train stage1 "$dir" "${choice[@]}" --steps "$2"
        (($3)) && train stage2 "$dir" "${choice[@]}" --steps "$3"
        score "$1" "$seed" "${choice[@]}"
    done
}

errors() { # GROUP NAME...: what each seed's models predict from noise after the true past, less the first
    for seed in $seeds; do
        local models=() table=$out/$1-errors-$seed
        for name in "${@:2}"; do models+=("$name=$out/$name-$seed/model"); done
        shotstream evaluate errors "${models[@]}" --device "$device" --stories "${ERROR_STORIES:-50}" \
            --json "$table.json" | tee "$table.txt"
    done
}

compare() { # GROUP NAME...: the first is the paper's choice
    ((stories)) || return 0
    local columns=()
    for name in "${@:2}"; do
        local files=()
        for seed in $seeds; do files+=("$out/scores/$name-$seed.json"); done
        columns+=("$name=$(IFS=, && echo "${files[*]}")")
    done
    shotstream evaluate compare "${columns[@]}" -o "$out/$1.md" --chart "$out/$1.svg"
}

context() {
    base dynamic shared
    base no-context none model.context=none
    base first first model.context=first
    base first_last first_last model.context=first_last
    errors context dynamic no-context first first_last
    compare context dynamic no-context first first_last
}

captions() {
    base dynamic shared
    base target-caption target model.captions=target
    errors captions dynamic target-caption
    compare captions dynamic target-caption
}

injection() {
    base dynamic shared
    base channel shared model.transformer.injection=channel
    errors injection dynamic channel
    compare injection dynamic channel
}

layers() {
    teacher attention-layers attention
    teacher all-layers all
    errors layers attention-layers all-layers
    compare layers attention-layers all-layers
}

indicator() {
    base dynamic shared
    base no-indicator shared model.transformer.indicator=none
    base learned shared model.transformer.indicator=learned
    errors indicator dynamic no-indicator learned
    compare indicator dynamic no-indicator learned
}

stages() {
    distilled both $((distill_steps / 2)) $((distill_steps / 2))
    distilled stage-1 "$distill_steps" 0
    distilled stage-2 0 "$distill_steps"
    compare stages both stage-1 stage-2
}

for group in ${WHAT:-context captions injection layers indicator stages}; do "$group"; done
