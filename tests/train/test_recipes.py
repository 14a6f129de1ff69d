"""What the recipes promise: they can be stopped and run again."""

import os
import subprocess
from pathlib import Path

EXPORT = Path(__file__).parents[2] / "recipes" / "storyworld" / "9-export.sh"
STAND_IN = """#!/usr/bin/env bash
echo "$*" >> said
if [[ $1 == train ]]; then mkdir "${@: -1}"; fi
"""


def test_a_model_is_exported_once_and_scored_as_often_as_asked(tmp_path: Path) -> None:
    stand_in = tmp_path / "bin" / "shotstream"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    env = os.environ | {"PATH": f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}", "RUN": "run"}
    for _ in range(2):
        subprocess.run([EXPORT, "model"], env=env, cwd=tmp_path, check=True)
    score = "evaluate --model model --stories 100 --json model.json --sheet model.png"
    said = (tmp_path / "said").read_text().splitlines()
    assert said == ["train export --preset storyworld --run run -o model", score, score]
