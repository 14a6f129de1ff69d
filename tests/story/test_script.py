"""Stories as people write them: every form is read, every mistake is one line that says where and what."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shotstream.core.errors import InputError
from shotstream.core.spec import PAPER_SHOT
from shotstream.story.captions import compose_caption
from shotstream.story.script import CastEntry, Script, ScriptExport, format_script
from shotstream.story.script_files import load_scripts, parse_json, parse_line
from shotstream.story.script_yaml import parse_yaml
from shotstream.story.shot_spec import ShotSpec, Steer

FOX = Script("A red fox in the snow. ", (ShotSpec("It walks.", 2), ShotSpec("It sleeps.", 3)), 7)
FOX_YAML = """\
global: "A red fox in the snow. "
seed: 7
shots:
  - text: It walks.
    chunks: 2
  - text: It sleeps.
"""


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def write_published(tmp_path, rows, columns="shot_num_from_caption,json_path,video_path,frame_number"):
    write(tmp_path, "a.json", json.dumps({"global_caption": "A fox.", "shot1": "It walks.", "shot2": "It sleeps."}))
    return write(tmp_path, "stories.csv", "\n".join([columns, *rows]) + "\n")


def test_captions_are_composed_as_published():
    assert compose_caption("Two people talk in a hallway. ", 3, "Back to the woman.") == (
        "Two people talk in a hallway. shot3:Back to the woman."
    )


@pytest.mark.parametrize("name", ["fox.yaml", "fox.yml", "FOX.YAML"])
@pytest.mark.parametrize("as_text", [True, False])
def test_yaml(tmp_path, name, as_text):
    path = write(tmp_path, name, FOX_YAML)
    assert load_scripts(str(path) if as_text else path) == [FOX]


def test_yaml_with_a_byte_order_mark_and_block_text(tmp_path):
    path = write(tmp_path, "x.yaml", b"\xef\xbb\xbfglobal: \xc3\x84 fox\nshots:\n- text: >\n    It\n    walks.\n")
    assert load_scripts(path) == [Script("Ä fox", (ShotSpec("It walks.\n"),))]


def test_json_has_the_published_length(tmp_path):
    text = json.dumps({"global_caption": "A fox.", "shot2": "It sleeps.", "shot1": "It walks."})
    shots = (ShotSpec("It walks.", 7), ShotSpec("It sleeps.", 7))
    assert load_scripts(write(tmp_path, "fox.json", text)) == [Script("A fox.", shots)]


def test_json_of_ten_shots_keeps_their_order(tmp_path):
    data = {"global_caption": "A fox."} | {f"shot{number}": f"text {number}" for number in range(1, 11)}
    script = load_scripts(write(tmp_path, "fox.json", json.dumps(data)))[0]
    assert [shot.text for shot in script.shots] == [f"text {number}" for number in range(1, 11)]


def test_csv_reads_a_story_a_row_and_takes_the_nearest_lengths(tmp_path):
    rows = ['2,a.json,a.mp4,"[[0, 33], [33, 66]]"', '2,a.json,a.mp4,"[(0, 3), (3, 84)]"', "2,a.json,,"]
    scripts = load_scripts(write_published(tmp_path, rows))
    assert [[shot.chunks for shot in script.shots] for script in scripts] == [[3, 3], [1, 7], [7, 7]]
    assert {script.global_caption for script in scripts} == {"A fox."}
    assert not any(shot.extend for script in scripts for shot in script.shots)


def test_a_shot_that_is_asked_longer_than_a_plain_one_is_extended_and_a_rounded_length_is_said(tmp_path, caplog):
    (script,) = load_scripts(write_published(tmp_path, ['2,a.json,,"[[0, 133], [133, 238]]"']))
    assert [(shot.chunks, shot.extend) for shot in script.shots] == [(11, True), (9, True)]
    assert [record.getMessage() for record in caplog.records] == [
        "stories.csv, line 2, shot 1: 129 frames instead of 133, because a shot has 9, 21, 33, ... frames"
    ]


def test_the_published_layout_is_read_as_its_publisher_reads_it(tmp_path, monkeypatch, caplog):
    """Other keys and columns are passed over, paths count from the working directory, ranges decide how many shots."""
    folder = tmp_path / "data"
    folder.mkdir()
    story = {"video_path": "a.mp4", "sample_id": "7", "fps": 24, "global_caption": "A fox.", "shot1": "a", "shot2": "b"}
    write(folder, "a.json", json.dumps(story))
    row = '0,data/a.json,"((0, 9),)"\n'
    monkeypatch.chdir(tmp_path)
    assert load_scripts(write(folder, "x.csv", ",json_path,frame_number\n" + row)) == [
        Script("A fox.", (ShotSpec("a", 1),))
    ]
    assert "x.csv, line 2: a.json has 2 shots, of which the first 1 are taken" in caplog.text


def test_json_says_how_many_frames_its_shots_have(tmp_path):
    story = {"global_caption": "A fox.", "shot1": "a", "shot2": "b", "frames_per_shot": [9, 93]}
    assert load_scripts(write(tmp_path, "a.json", json.dumps(story)))[0].shots == (
        ShotSpec("a", 1),
        ShotSpec("b", 8, extend=True),
    )


def test_a_text_file_has_a_prompt_a_line(tmp_path):
    text = "A fox walks.\r\n\n  A fox sleeps.\nA wood. | A fox walks. | It sleeps.\n"
    assert load_scripts(write(tmp_path, "a.txt", text)) == [
        Script("", (ShotSpec("A fox walks.", 7),)),
        Script("", (ShotSpec("A fox sleeps.", 7),)),
        Script("A wood.", (ShotSpec("A fox walks.", 7), ShotSpec("It sleeps.", 7))),
    ]
    assert load_scripts(tmp_path / "a.txt", chunks=2)[0].shots[0].chunks == 2


def test_a_json_a_line_has_prompts_that_follow_each_other(tmp_path, caplog):
    lines = [
        {"prompts": ["a", "b"]},
        {"prompts": ["a", "b", "c"], "switch_frame_indices": [40, 60], "idx": 3},
        {"prompts": ["a", "b"], "switch_frame_indices": "6", "global_caption": "A fox."},
        {"prompt": "a"},
        {"global_caption": "A fox.", "shot1": "a"},
    ]
    scripts = load_scripts(write(tmp_path, "a.jsonl", "\n\n".join(map(json.dumps, lines))))
    assert [script.global_caption for script in scripts] == ["", "", "A fox.", "", "A fox."]
    assert [[(shot.text, shot.chunks) for shot in script.shots] for script in scripts] == [
        [("a", 7), ("b", 7)],
        [("a", 14), ("b", 6), ("c", 6)],
        [("a", 2), ("b", 2)],
        [("a", 7)],
        [("a", 7)],
    ]
    assert [shot.extend for shot in scripts[1].shots] == [True, False, False]
    assert "a.jsonl, line 3: it does not say how long the last prompt lasts" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "\n \n", "a.txt: expected a prompt in each line, got an empty file"),
        ("a.txt", FOX_YAML, "a.txt: expected a prompt in each line, got what looks like YAML; name it .yaml"),
        ("a.txt", "shot_num,json_path\n2,a.json\n", "a.txt: expected a prompt in each line, got what looks like CSV"),
        ("a.txt", '["a", "b"]', "a.txt: expected a prompt in each line, got what looks like JSON"),
        ("a.jsonl", "", "a.jsonl: expected a prompt in each line, got an empty file"),
        ("a.jsonl", "[]", 'a.jsonl, line 1: expected {"prompts": [...]}, got list'),
        ("a.jsonl", '\n{"prompt', "a.jsonl, line 2, column 2: no JSON"),
        ("a.jsonl", '{"promts": []}', "line 1: unknown name 'promts' (did you mean 'prompts'?)"),
        ("a.jsonl", '{"text": "a"}', "line 1: missing key 'prompts'"),
        ("a.jsonl", '{"prompts": "a"}', "expected 'prompts' to be a list of captions, got str"),
        ("a.jsonl", '{"prompts": []}', "expected at least one shot, got none"),
        ("a.jsonl", '{"prompts": ["a", 3]}', "line 1, prompt 2: expected the text of a shot to be text, got 3"),
        ("a.jsonl", '{"prompts": ["a"], "prompt": "b"}', "expected 'prompts' or 'prompt', got both"),
        ("a.jsonl", '{"prompts": ["a", "b"], "switch_frame_indices": [3, 6]}', "expected 1 switch_frame_indices"),
        ("a.jsonl", '{"prompts": ["a", "b"], "switch_frame_indices": [0]}', "expected rising switch_frame_indices"),
        ("a.jsonl", '{"prompts": ["a", "b"], "switch_frame_indices": "x"}', "to be a list of whole numbers, got ['x']"),
    ],
)
def test_bad_prompt_files(tmp_path, name, text, message):
    assert message in complaint(write(tmp_path, name, text))


def test_a_line():
    assert load_scripts("A fox | It walks. | It sleeps. ") == [
        Script("A fox", (ShotSpec("It walks."), ShotSpec("It sleeps.")))
    ]


def test_a_wanted_length_counts_where_the_story_names_none(tmp_path):
    assert [shot.chunks for shot in load_scripts(write(tmp_path, "x.yaml", FOX_YAML), chunks=5)[0].shots] == [2, 5]
    assert load_scripts("A fox | It walks.", chunks=1)[0].shots[0].chunks == 1


def test_yaml_of_a_script_reads_back_to_it(tmp_path):
    assert load_scripts(write(tmp_path, "x.yaml", format_script(FOX))) == [FOX]


DIRECTED = Script(
    "A fox.",
    (
        ShotSpec("It walks.", 9, extend=True, steers=(Steer(2, "It runs."), Steer(8, "It rests."))),
        ShotSpec("It sleeps.", 2, seed=5, cast=(1,), steers=(Steer(0, "It wakes."),)),
    ),
    cast=(CastEntry("fox.png", "a fox, from the front"), CastEntry("wood.png", "a wood")),
)
DIRECTED_YAML = """\
global: A fox.
cast:
- image: fox.png
  caption: a fox, from the front
- {image: wood.png, caption: a wood}
shots:
- text: It walks.
  chunks: 9
  extend: true
  steer:
  - at: 2
    text: It runs.
  - {at: 8, text: It rests.}
- text: It sleeps.
  chunks: 2
  seed: 5
  cast: [1]
  steer: [{at: 0, text: It wakes.}]
"""


def test_a_directed_story():
    assert parse_yaml(DIRECTED_YAML, "x.yaml") == DIRECTED
    assert parse_yaml(format_script(DIRECTED), "x.yaml") == DIRECTED


def test_a_title_and_an_export_are_kept():
    script = Script("A fox.", (ShotSpec("It walks."),), title="Fox", export=ScriptExport(fade=8, soundtrack="a.wav"))
    text = format_script(script)
    assert "export:\n  fade: 8\n  soundtrack: a.wav\n" in text
    assert parse_yaml(text, "x.yaml") == script


def test_a_soundtrack_is_looked_for_beside_the_story(tmp_path):
    path = write(tmp_path, "x.yaml", "global: a\nexport: {soundtrack: a.wav}\nshots:\n- text: b\n")
    with pytest.raises(InputError, match=r"x.yaml, export: cannot read .*a.wav: no such file"):
        load_scripts(path)
    write(tmp_path, "a.wav", "")
    assert load_scripts(path)[0].export.soundtrack == str(tmp_path / "a.wav")


def test_images_are_looked_for_beside_the_story(tmp_path):
    for name in ("fox.png", "wood.png"):
        write(tmp_path, name, "")
    (script,) = load_scripts(write(tmp_path, "x.yaml", DIRECTED_YAML))
    assert [entry.image for entry in script.cast] == [str(tmp_path / "fox.png"), str(tmp_path / "wood.png")]
    assert script.shots == DIRECTED.shots


def test_an_image_that_is_missing_is_named(tmp_path):
    write(tmp_path, "fox.png", "")
    message = complaint(write(tmp_path, "x.yaml", DIRECTED_YAML))
    assert message == f"x.yaml, cast 2: cannot read {tmp_path / 'wood.png'}: no such file; check the path"


def shot_with(lines):
    return f"global: a\nshots:\n- text: b\n  chunks: 3\n{lines}"


BAD_DIRECTIONS = {
    "steer is one text": (shot_with("  steer: c\n"), "line 5: expected 'steer' to be a list; begin each with '- at:'"),
    "no place": (shot_with("  steer:\n  - text: c\n"), "line 6, steer 1: missing key 'at'"),
    "no text": (shot_with("  steer:\n  - at: 1\n"), "line 6, steer 1: missing key 'text'"),
    "empty text": (
        shot_with('  steer:\n  - {at: 1, text: ""}\n'),
        "steer 1: expected the text to steer to, got an empty",
    ),
    "a title is a number": ("title: 7\nglobal: a\nshots:\n- text: b\n", "expected a title to be text, got 7"),
    "a long title": (f"title: {'x' * 201}\nglobal: a\nshots:\n- text: b\n", "A title has at most 200 characters"),
    "export is a list": ("global: a\nexport: [4]\nshots: []\n", "line 2, export: expected a mapping with 'scale:' and"),
    "unknown export": (
        "global: a\nexport: {scael: 4}\nshots: []\n",
        "export: unknown key 'scael' (did you mean 'scale'",
    ),
    "a large scale": ("global: a\nexport: {scale: 7}\nshots: []\n", "line 2, export: expected scale to be a whole"),
    "half a frame of fade": (
        "global: a\nexport: {fade: 1.5}\nshots: []\n",
        "expected fade to be a whole number from 0",
    ),
    "another filter": ("global: a\nexport: {filter: cubic}\nshots: []\n", "the filter nearest or lanczos, got 'cubic'"),
    "unknown key": (shot_with("  steer:\n  - {att: 1, text: c}\n"), "unknown key 'att' (did you mean 'at'?)"),
    "place in words": (shot_with("  steer:\n  - {at: soon, text: c}\n"), "to be 0 or more, got 'soon'"),
    "negative place": (shot_with("  steer:\n  - {at: -1, text: c}\n"), "to be 0 or more, got -1"),
    "place behind the end": (shot_with("  steer:\n  - {at: 3, text: c}\n"), "at rising chunks before 3, got [3]"),
    "places fall": (
        shot_with("  steer:\n  - {at: 2, text: c}\n  - {at: 1, text: d}\n"),
        "line 3, shot 1: expected to steer at rising chunks before 3, got [2, 1]",
    ),
    "twice the same place": (shot_with("  steer: [{at: 1, text: c}, {at: 1, text: d}]\n"), "got [1, 1]"),
    "extend in words": (shot_with("  extend: long\n"), "shot 1: expected extend to be true or false, got 'long'"),
    "extended to nothing": ("global: a\nshots:\n- {text: b, chunks: 0, extend: true}\n", "at least 1 chunk, got 0"),
    "cast is one": (
        "global: a\ncast: b\nshots: []\n",
        "line 2: expected 'cast' to be a list; begin each with '- image:'",
    ),
    "a shot's cast is a number": (shot_with("  cast: 1\n"), "line 5: expected 'cast' to be a list of numbers from 0"),
    "a shot's cast falls": (shot_with("  cast: [1, 0]\n"), "knows as rising numbers from 0, got [1, 0]; write [0, 1]"),
    "a shot's cast has words": (shot_with("  cast: [fox]\n"), "knows as rising numbers from 0, got ['fox']"),
    "a shot's cast is not there": (shot_with("  cast: [0]\n"), "shot 1 knows member 0 of a cast that has nobody"),
    "cast without a caption": ("global: a\ncast:\n- image: b\nshots: []\n", "line 3, cast 1: missing key 'caption'"),
    "cast with an empty image": (
        'global: a\ncast:\n- {image: "", caption: b}\nshots: []\n',
        "line 3, cast 1: expected the image of a cast member, got an empty one",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD_DIRECTIONS.values(), ids=BAD_DIRECTIONS.keys())
def test_bad_directions(tmp_path, text, message):
    assert message in complaint(write(tmp_path, "x.yaml", text))


BAD_YAML = {
    "empty file": ("", "x.yaml: expected a story with 'global' and 'shots', got an empty file"),
    "a list": ("- a\n", "x.yaml, line 1: expected a mapping with 'global:' and 'shots:', got a list"),
    "unknown key": ("globl: a\nshots: []\n", "line 1: unknown key 'globl' (did you mean 'global'?)"),
    "unknown key of a shot": (
        "global: a\nshots:\n- text: b\n- txt: c\n",
        "line 4, shot 2: unknown key 'txt' (did you mean 'text'?)",
    ),
    "far unknown key": (
        "global: a\nzzz: 1\nshots: []\n",
        "line 2: unknown key 'zzz'; known keys: title, global, seed",
    ),
    "key over two lines": ('global: a\n"b\\n c": 1\nshots: []\n', "line 2: unknown key 'b c'"),
    "no global": ("shots:\n- text: a\n", "missing key 'global'"),
    "no shots": ("global: a\n", "missing key 'shots'"),
    "empty list of shots": ("global: a\nshots: []\n", "expected at least one shot, got none"),
    "shots is no list": ("global: a\nshots: b\n", "line 2: expected 'shots' to be a list"),
    "a shot is bare text with a colon": (
        "global: a\nshots:\n- Wide shot of the owl: it sleeps.\n",
        "line 3, shot 1: the colon makes 'Wide shot of the owl' a key; put the whole text in quotes",
    ),
    "a shot is bare text": ("global: a\nshots:\n- b\n", "line 3, shot 1: expected a mapping with 'text:', got 'b'"),
    "empty text": ('global: a\nshots:\n- text: " "\n', "line 3, shot 1: expected the text of a shot, got an empty one"),
    "no text": ("global: a\nshots:\n- text:\n", "line 3, shot 1: expected the text of a shot to be text, got None"),
    "missing text": ("global: a\nshots:\n- chunks: 2\n", "line 3, shot 1: missing key 'text'"),
    "no text as global": ("global:\nshots:\n- text: a\n", "expected the global caption to be text, got None"),
    "text is a number": ("global: a\nshots:\n- text: 12\n", "to be text, got 12; put it in quotes"),
    "text is a list": ("global: a\nshots:\n- text: [b]\n", "line 3: expected one value, got a list"),
    "length 0": ("global: a\nshots:\n- text: b\n  chunks: 0\n", "shot 1: expected a shot of 1 to 7 chunks, got 0"),
    "length 8": ("global: a\nshots:\n- text: b\n  chunks: 8\n", "got 8; split it into shots"),
    "length is no whole number": (
        "global: a\nshots:\n- text: b\n  chunks: 2.0\n",
        "got 2.0; use a whole number in that range",
    ),
    "the published keys": ("global_caption: a\nshot1: b\n", "got those of the published JSON ('global_caption'"),
    "only blanks that nobody sees": ('global: a\nshots:\n- text: "\u200b \u00a0"\n', "got an empty one"),
    "length is text": ("global: a\nshots:\n- text: b\n  chunks: many\n", "chunks, got 'many'"),
    "length is yes": ("global: a\nshots:\n- text: b\n  chunks: yes\n", "chunks, got True"),
    "seed is text": ("global: a\nseed: x\nshots:\n- text: b\n", "expected a seed from 0 to"),
    "negative seed": ("global: a\nseed: -1\nshots:\n- text: b\n", "got -1"),
    "repeated key": ("global: a\nglobal: b\nshots: []\n", "line 2: the key 'global' stands twice"),
    "no YAML": ("global: [a\nshots: b\n", "no YAML (here must stand ',' or ']', not ':')"),
    "tab": ("global: a\nshots:\n\t- text: b\n", "line 3, column 1: no YAML"),
    "control character": ("global: a\x00b\n", "no YAML"),
    "two documents": ("global: a\n---\nglobal: b\n", "line 2"),
    "bad date": ("global: 2020-13-45\nshots:\n- text: b\n", "line 1: cannot read '2020-13-45'; put text in quotes"),
    "no such date": ("global: !!timestamp foo\nshots:\n- text: b\n", "line 1: cannot read 'foo'; put text in quotes"),
    "no number": ("global: !!int ''\nshots:\n- text: b\n", "line 1: cannot read ''; put text in quotes"),
    "no yes or no": ("global: !!bool maybe\nshots:\n- text: b\n", "line 1: cannot read 'maybe'; put text in quotes"),
    "lone surrogate": ('global: "\\ud800"\nshots:\n- text: b\n', "lone surrogate"),
    "too deep": ("[" * 5000, "nested too deeply"),
}


@pytest.mark.parametrize(("text", "message"), BAD_YAML.values(), ids=BAD_YAML.keys())
def test_bad_yaml(tmp_path, text, message):
    assert message in complaint(write(tmp_path, "x.yaml", text))


BAD_JSON = {
    "no JSON": ('{"global_caption": "a",\n "shot1": }', "x.json, line 2, column 11: no JSON"),
    "two": ('{"shot1": "a"}\n{"shot1": "b"}', "no JSON (Extra data); write one JSON a file, or one a line in a .jsonl"),
    "prompts": ('{"prompts": ["a"]}', "got one with 'prompts'; several stories go into a .jsonl, one a line"),
    "empty": ("", "x.json, line 1, column 1: no JSON"),
    "a list": ("[]", "expected a mapping with 'global_caption' and 'shot1', got list"),
    "no global": ('{"shot1": "a", "shot2": "b"}', "missing key 'global_caption'"),
    "no shot": ('{"global_caption": "a"}', "missing key 'shot1'"),
    "a gap": ('{"global_caption": "a", "shot1": "b", "shot3": "c"}', "missing key 'shot2'"),
    "misspelt": ('{"global_captoin": "a", "shot1": "b"}', "(did you mean 'global_caption'?)"),
    "empty global": ('{"global_caption": " ", "shot1": "b"}', "expected the global caption, got an empty one"),
    "one shot misspelt": ('{"global_caption": "a", "shot1": "b", "Shot 02": "c"}', "(did you mean 'shot2'?)"),
    "counted from 0": ('{"global_caption": "a", "shot0": "b", "shot1": "c"}', "unknown name 'shot0'"),
    "lengths": ('{"global_caption": "a", "shot1": "b", "frames_per_shot": [9, 9]}', "to be a list of 1 numbers"),
    "length of nothing": ('{"global_caption": "a", "shot1": "b", "frames_per_shot": [0]}', "numbers from 1 on"),
    "twice": ('{"global_caption": "a", "shot1": "b", "shot1": "c"}', "the key 'shot1' stands twice"),
    "empty shot": ('{"global_caption": "a", "shot1": ""}', "x.json: shot1: expected the text of a shot, got an empty"),
    "number": ('{"global_caption": "a", "shot1": 3}', "shot1: expected the text of a shot to be text, got 3"),
    "huge number": ('{"global_caption": "a", "shot1": %s}' % ("9" * 5000), "a number of thousands of digits"),
    "too deep": ("[" * 100_000, "x.json: it is nested too deeply"),
}


@pytest.mark.parametrize(("text", "message"), BAD_JSON.values(), ids=BAD_JSON.keys())
def test_bad_json(tmp_path, text, message):
    assert message in complaint(write(tmp_path, "x.json", text))


BAD_ROWS = {
    "no row": ([], "stories.csv: expected at least one story, got none"),
    "another count": (["3,a.json,a.mp4,"], "line 2: it counts 3 shots and a.json has 2"),
    "no such JSON": (["2,b.json,a.mp4,"], "line 2: cannot read 'b.json': no such file beside stories.csv, nor from"),
    "too few values": (["2,a.json"], "line 2: expected as many values as columns"),
    "too many values": (["2,a.json,a.mp4,[[0,33],[33,66]]"], "line 2: expected as many values as columns"),
    "no ranges": (["2,a.json,a.mp4,7"], "line 2: expected frame_number as [[start, end], ...], got '7'"),
    "ranges of three shots": (['2,a.json,,"[[0,9],[9,18],[18,27]]"'], "frame_number has 3 shots and a.json has 2"),
    "no frames": (['2,a.json,a.mp4,"[[0,0],[0,33]]"'], "at least one frame"),
    "broken ranges": (['2,a.json,a.mp4,"[[0,"'], "line 2: expected frame_number as [[start, end], ...], got '[[0,'"),
    "open quote": (['2,"a.json,a.mp4,'], "stories.csv, after line 1: no CSV"),
}


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_bad_csv(tmp_path, rows, message):
    assert message in complaint(write_published(tmp_path, rows))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("shot_num_from_caption,json_pth", "line 1: unknown name 'json_pth' (did you mean 'json_path'?)"),
        ("shot_num_from_caption,video_path", "line 1: missing column 'json_path'"),
    ],
)
def test_bad_columns(tmp_path, columns, message):
    assert message in complaint(write_published(tmp_path, ["2,a.json"], columns))


def test_a_count_of_pandas_is_a_number(tmp_path):
    assert len(load_scripts(write_published(tmp_path, ["2.0,a.json,a.mp4,"]))[0].shots) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (FOX_YAML.encode("utf-16"), "expected UTF-8 text, got UTF-16; save it as UTF-8"),
        (b"PK\3\4\x14\0", "got a zip or a document of an office program; save it as plain text or CSV"),
        (b"\xd0\xcf\x11\xe0\xa1", "got a document of an office program"),
        (b"\n<!DOCTYPE html>\n<html></html>", "got a web page; download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "got a Git LFS pointer to it; run 'git lfs pull' there"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.yaml", "a.json", "a.jsonl"])
def test_files_of_other_kinds_are_named(tmp_path, name, data, message):
    assert message in complaint(write(tmp_path, name, data))


def test_bad_files(tmp_path):
    assert "expected a table with the columns shot_num" in complaint(write(tmp_path, "x.csv", b"\n"))
    assert f"got the directory {tmp_path}; name a file in it" in complaint(tmp_path)
    assert "line 2: expected UTF-8 text" in complaint(write(tmp_path, "x.yaml", b"global: a\nshots: \xff\n"))
    assert "No such file or directory; check the path" in complaint(tmp_path / "nothing.yaml")
    assert "which is neither" in complaint(write(tmp_path, "x.doc", FOX_YAML))
    assert "which is neither" in complaint("just words")
    assert "which is neither" in complaint("")
    (tmp_path / "directory.json").mkdir()
    assert "Is a directory" in complaint(tmp_path / "directory.json")
    assert "more than 16 MiB" in complaint(write(tmp_path, "big.yaml", b"#" * (16 * 2**20 + 1)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("A fox |", "shot 1: expected the text of a shot, got an empty one"),
        ("A fox | It walks. | | It sleeps.", "shot 2: expected the text of a shot"),
        (" | It walks.", "story: expected the global caption, got an empty one"),
    ],
)
def test_bad_line(line, message):
    assert message in complaint(line)


def test_a_wanted_length_is_checked():
    with pytest.raises(InputError, match="1 to 7 chunks, got 0"):
        load_scripts("A fox | It walks.", chunks=0, shape=PAPER_SHOT)


@given(st.text(max_size=200))
def test_whatever_is_handed_in_is_a_story_or_one_line_of_error(text):
    for parse in (lambda: parse_yaml(text, "x"), lambda: parse_json(text, "x"), lambda: parse_line(text)):
        assert outcome(parse)


def outcome(parse):
    """True where there is a story, or one line that says why there is none."""
    try:
        return bool(parse().shots)
    except InputError as error:
        return "\n" not in str(error)


def complaint(source):
    with pytest.raises(InputError) as caught:
        load_scripts(source, shape=PAPER_SHOT)
    assert "\n" not in str(caught.value)
    return str(caught.value)
