"""`shotstream verify`: everything recorded is reproduced, and whatever is not makes its cases fail."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from shotstream import cli
from shotstream.cli.verify import format_line
from shotstream.core.config import to_dict
from shotstream.core.errors import InputError
from shotstream.model import rotary
from shotstream.parity import model as verify_model
from shotstream.parity.case import CaseResult, Golden, compare_exactly, relative_error
from shotstream.parity.verify import CHECKS, check_directory, full_precision, run_check, verify

GOLDEN = Path(__file__).parents[1] / "golden"
CPU = torch.device("cpu")


def run(directory: Path, *options: str) -> int:
    return cli.run_command(["verify", str(directory), "--device", "cpu", *options])


def results_of(directory: Path, *names: str) -> dict[str, CaseResult]:
    """Cases of the checks whose names begin with one of `names`."""
    golden = Golden(directory, CPU, torch.float32)
    checks = [check for check in CHECKS if check.name.startswith(names)]
    assert checks
    return {result.name: result for check in checks for result in run_check(check, golden)}


def failures(results: dict[str, CaseResult]) -> set[str]:
    return {name for name, result in results.items() if not result.passed}


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """The recordings, as links: replace a file, never write into one."""
    directory = tmp_path / "golden"
    shutil.copytree(GOLDEN, directory, copy_function=lambda source, target: Path(target).symlink_to(source))
    return directory


@pytest.fixture
def change(golden: Path) -> Callable[[str, Callable[[dict[str, Tensor]], None]], None]:
    """Rewrites a file of tensors with some of them changed."""

    def rewrite(name: str, edit: Callable[[dict[str, Tensor]], None]) -> None:
        tensors = load_file(GOLDEN / name)
        edit(tensors)
        (golden / name).unlink()
        save_file(tensors, golden / name)

    return rewrite


def nudge(name: str) -> Callable[[dict[str, Tensor]], None]:
    """Adds a thousandth of the largest value to one entry of a tensor (in uint8: two levels)."""

    def edit(tensors: dict[str, Tensor]) -> None:
        flat = tensors[name].view(-1)
        if flat.dtype == torch.uint8:
            flat[0] = flat[0] + 2 if flat[0] < 250 else flat[0] - 2
        else:
            flat[0] += 1e-3 * flat.abs().max()

    return edit


@pytest.fixture(scope="module")
def everything() -> list[CaseResult]:
    return list(verify(GOLDEN, CPU))


def test_everything_recorded_is_reproduced(everything: list[CaseResult]) -> None:
    assert [format_line(result) for result in everything if not result.passed] == []
    assert len({result.name for result in everything}) == len(everything)


@pytest.mark.parametrize(
    ("file", "inputs"),
    [
        ("dit/cases", r"t2v\.(x|t|text)|next_shot\.(latents|t|text|shots)"),
        ("causal/cases", r"context_latents|shots|text|.*noise|full\.timesteps"),
        ("causal/window", r"context_latents|shots|text|.*noise|window\.timesteps"),
        ("pipeline/cases", r"text\d|.*noise\d?|video"),
        (
            "losses/cases",
            r".*\.(context|shots|text|noise|negative_text|guidance|generated|trajectory|timesteps)"
            r"|.*\.timestep_index|.*\.step_index_drawn|.*\.exit_step|.*\.renoise\.\d|fm\.latents|(dmd|critic)\.timestep",
        ),
    ],
)
def test_every_recorded_output_has_a_case(everything: list[CaseResult], file: str, inputs: str) -> None:
    outputs = [name for name in load_file(GOLDEN / f"{file}.safetensors") if not re.fullmatch(inputs, name)]
    assert outputs
    assert {f"{file.split('/')[0]}/{name}" for name in outputs} <= {result.name for result in everything}


def test_every_other_recording_has_a_case(everything: list[CaseResult]) -> None:
    numbers = json.loads((GOLDEN / "scheduler.json").read_text())
    steps = numbers.pop("steps")
    expected = {
        *(f"scheduler/{key}" for key in numbers),
        *(f"scheduler/steps.{key}" for key in steps),
        *(f"pipeline/shot{index}.video" for index in range(4)),
        *(f"vae/{name}" for name in ("encode", "encode_one", "decode", "decode_streamed")),
        *("causal/block_causal.flow", "causal/block_causal.x0", "umt5/embeddings"),
    }
    names = {result.name for result in everything}
    assert expected <= names
    sampled = [name for name in names if name.startswith("context_sampling/")]
    assert len(sampled) == len(json.loads((GOLDEN / "context_sampling.json").read_text()))


@pytest.mark.parametrize(
    ("folder", "tensor", "check"),
    [
        ("dit", "blocks.1.ffn.2.weight", "dit"),
        ("dit", "head.modulation", "dit"),
        ("causal", "blocks.0.self_attn.o.weight", "causal"),
        ("causal", "blocks.1.cross_attn.norm_k.weight", "causal"),
        ("vae", "encoder.head.2.weight", "vae/encode"),
        ("vae", "decoder.head.2.weight", "vae/decode"),
        ("umt5", "blocks.1.attn.o.weight", "umt5"),
    ],
)
def test_a_perturbed_weight_makes_its_cases_fail(
    golden: Path, change: Callable, folder: str, tensor: str, check: str
) -> None:
    change(f"{folder}/weights.safetensors", lambda tensors: tensors[tensor].mul_(1.01))
    results = results_of(golden, check)
    before = re.compile(r".*\.step0\.x|causal/full\.context_[kv]\.\d")
    assert {name for name in results if not before.fullmatch(name)} <= failures(results)


def test_perturbed_weights_make_the_pipeline_fail(golden: Path, change: Callable) -> None:
    change("vae/weights.safetensors", lambda tensors: tensors["decoder.head.2.bias"].add_(0.1))
    results = results_of(golden, "pipeline")
    assert {f"pipeline/shot{index}.video" for index in range(4)} <= failures(results)
    assert results["pipeline/shot0.latents"].passed
    assert not results["pipeline/shot1.latents"].passed, "what is remembered was decoded"


@pytest.mark.parametrize(
    ("file", "tensor", "case"),
    [
        ("dit/cases", "t2v.flow", "dit/t2v.flow"),
        ("dit/cases", "no_indicator.x0", "dit/no_indicator.x0"),
        ("causal/cases", "full.context_k.1", "causal/full.context_k.1"),
        ("causal/cases", "full.chunk1.step2.x", "causal/full.chunk1.step2.x"),
        ("causal/cases", "full.latents", "causal/full.latents"),
        ("causal/window", "window.chunk3.step0.flow", "causal/window.chunk3.step0.flow"),
        ("causal/block_causal", "flow", "causal/block_causal.flow"),
        ("vae/cases", "encode_one.latents", "vae/encode_one"),
        ("umt5/cases", "embeddings", "umt5/embeddings"),
        ("pipeline/cases", "shot2.context_latents", "pipeline/shot2.context_latents"),
        ("pipeline/cases", "video", "pipeline/shot0.video"),
    ],
)
def test_a_perturbed_output_makes_its_case_fail_and_no_other(
    golden: Path, change: Callable, file: str, tensor: str, case: str
) -> None:
    change(f"{file}.safetensors", nudge(tensor))
    assert failures(results_of(golden, file.split("/")[0])) == {case}


@pytest.mark.parametrize(
    ("file", "edit", "case"),
    [
        ("scheduler.json", lambda data: data["steps"]["warped"].__setitem__(1, 958.0), "scheduler/steps.warped"),
        ("scheduler.json", lambda data: data["ode_saved_steps"].__setitem__(1, 12), "scheduler/ode_saved_steps"),
        ("context_sampling.json", lambda data: data[0]["frame_indices"].__setitem__(1, 4), "context_sampling/17/6"),
        ("manifest/wan2.1-vae.json", lambda data: data.pop("conv1.bias"), "manifest/wan2.1-vae"),
        ("manifest/wan2.1-t2v-1.3b.json", lambda data: data["head.head.bias"].append(1), "manifest/wan2.1-t2v-1.3b"),
        ("pipeline/script.json", lambda data: data["prompts"].append("another"), "pipeline/prompts"),
    ],
)
def test_perturbed_numbers_make_their_case_fail(golden: Path, file: str, edit: Callable, case: str) -> None:
    data = json.loads((GOLDEN / file).read_text())
    edit(data)
    (golden / file).unlink()
    (golden / file).write_text(json.dumps(data))
    assert case in failures(results_of(golden, file.split("/")[0].removesuffix(".json")))


def test_a_changed_engine_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotary, "BASE", 9000.0)
    assert failures(results_of(GOLDEN, "causal/block_causal")) == {"causal/block_causal.flow", "causal/block_causal.x0"}


def test_a_caption_composed_otherwise_is_no_recorded_prompt(golden: Path) -> None:
    script = json.loads((GOLDEN / "pipeline/script.json").read_text())
    script["shots"][0] = "something else."
    (golden / "pipeline/script.json").unlink()
    (golden / "pipeline/script.json").write_text(json.dumps(script))
    results = results_of(golden, "pipeline")
    assert not results["pipeline/prompts"].passed
    assert "expected only recorded prompts, got" in results["pipeline"].note


def test_what_is_missing_is_a_failed_case(golden: Path) -> None:
    shutil.rmtree(golden / "dit")
    (golden / "causal/window.safetensors").unlink()
    results = results_of(golden, "dit", "causal", "umt5")
    assert failures(results) == {"dit/t2v", "dit/next_shot", "dit/one_caption", "dit/no_indicator", "causal/window"}
    assert results["causal/window"].note == "missing causal/window.safetensors"
    assert results["dit/t2v"].note.startswith("missing dit/config.json")


@pytest.mark.parametrize("file", ["vae/weights.safetensors", "vae/cases.safetensors", "vae/config.json"])
def test_a_corrupt_file_is_a_failed_case(golden: Path, file: str) -> None:
    (golden / file).unlink()
    (golden / file).write_bytes((GOLDEN / file).read_bytes()[:60])
    results = results_of(golden, "vae")
    assert failures(results) == {"vae/encode", "vae/decode"}
    assert all(result.note and "\n" not in result.note and result.error is None for result in results.values())


@pytest.mark.parametrize("text", ["[1]", '{"a":', '"text"', "{}"])
def test_json_of_another_kind_is_a_failed_case(golden: Path, text: str) -> None:
    for file in ("scheduler.json", "context_sampling.json", "pipeline/script.json", "manifest/wan2.1-vae.json"):
        (golden / file).unlink()
        (golden / file).write_text(text)
    results = results_of(golden, "scheduler", "pipeline", "manifest/wan2.1-vae")
    assert {"scheduler", "pipeline"} <= failures(results)
    assert any(name.startswith("manifest/wan2.1-vae") for name in failures(results))
    assert failures(results_of(golden, "context_sampling")) == ({"context_sampling"} if text != "{}" else set())


def test_a_missing_or_misshapen_tensor_fails_and_what_came_before_stays(golden: Path, change: Callable) -> None:
    change("dit/cases.safetensors", lambda tensors: tensors.pop("next_shot.x0"))
    results = results_of(golden, "dit/next_shot")
    assert results["dit/next_shot.flow"].passed
    assert results["dit/next_shot"].note == "cases.safetensors: expected a tensor 'next_shot.x0', found none"
    change("umt5/cases.safetensors", lambda tensors: tensors.update(embeddings=tensors["embeddings"][:2].clone()))
    assert results_of(golden, "umt5")["umt5/embeddings"].note == "shape [3, 24, 32], expected [2, 24, 32]"


def test_shots_without_a_context_are_refused() -> None:
    text = torch.zeros(3, 4, 8)
    for shots in ([2, 2, 2], [0, 1, 0], [0, 0, 3]):
        with pytest.raises(InputError, match="expected 'shots' of a context and of one later shot"):
            verify_model.recorded_shot(torch.tensor(shots), text, 1)


def test_not_a_number_fails(golden: Path, change: Callable) -> None:
    change("umt5/cases.safetensors", lambda tensors: tensors["embeddings"].view(-1)[:1].fill_(float("nan")))
    assert failures(results_of(golden, "umt5")) == {"umt5/embeddings"}


@pytest.mark.parametrize(
    ("got", "expected", "error"),
    [([1.0, 2.0], [1.0, 4.0], 0.5), ([0.0], [0.0], 0.0), ([1.0], [0.0], float("inf")), ([], [], 0.0)],
)
def test_relative_error(got: list[float], expected: list[float], error: float) -> None:
    assert relative_error(torch.tensor(got), torch.tensor(expected)) == error


def test_lists_are_compared_entry_by_entry() -> None:
    assert compare_exactly("a", [1, 2], [1, 3]) == CaseResult("a", 0.5, 0.0, passed=False, note="got 2, expected 3")
    assert compare_exactly("a", [1], [1, 3]).note == "1 entries, expected 2"


def test_float32_is_float32_while_checks_run() -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        with full_precision():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("name", ["empty", "nothing", "file"])
def test_a_directory_without_recordings_exits_with_2_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "empty" / "vae").mkdir(parents=True)
    (tmp_path / "file").write_text("{}")
    assert cli.main(["verify", str(tmp_path / name), "--device", "cpu"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("shotstream: expected a directory of recorded tensors")
    assert said.err.count("\n") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(GOLDEN), "--device", "cuda"]) == 2
    assert "use --device cpu" in capsys.readouterr().err


def test_models_are_no_recordings(golden: Path) -> None:
    check_directory(golden)
    for file in [*golden.glob("*.json"), *golden.glob("*/*")]:
        if file.name not in ("config.json", "weights.safetensors"):
            file.unlink()
    with pytest.raises(InputError, match="without one of them"):
        check_directory(golden)


def test_the_command_prints_a_line_a_case_and_counts(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("causal", "vae", "losses", "manifest"):
        shutil.rmtree(golden / folder)
    assert run(golden) == 1
    lines = capsys.readouterr().out.splitlines()
    cases, last = lines[:-1], lines[-1]
    passed = sum("  pass" in line for line in cases)
    assert last == f"{passed} passed, {len(cases) - passed} failed"
    assert passed >= 30
    assert any(line.split()[:1] + line.split()[2:] == ["dit/t2v.flow", "1.0e-05", "pass"] for line in cases)
    assert [line for line in cases if "losses/dmd" in line] == [
        format_line(
            CaseResult(
                "losses/dmd",
                None,
                None,
                passed=False,
                note="missing losses/fake_weights.safetensors, losses/cases.safetensors",
            )
        )
    ]
    assert len({line.index(word) for line in cases for word in ("  pass", "  fail") if word in line}) == 1


def test_the_command_exits_with_0_where_all_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shotstream.parity.verify.CHECKS", [check for check in CHECKS if check.name == "scheduler"])
    shutil.copy(GOLDEN / "scheduler.json", tmp_path)
    assert run(tmp_path) == 0


def test_bfloat16_is_verified_with_its_own_tolerance(golden: Path) -> None:
    coarse = Golden(golden, CPU, torch.bfloat16)
    assert (coarse.tolerance, Golden(golden, CPU, torch.float32).tolerance) == (2e-2, 1e-5)
    checks = [check for check in CHECKS if check.name in ("dit/next_shot", "causal/block_causal", "umt5")]
    results = [result for check in checks for result in run_check(check, coarse)]
    assert all(result.passed for result in results)
    assert min(result.error or 0 for result in results) > 1e-4, "it ran in bfloat16"


def test_networks_of_other_sizes_are_read_from_their_configuration(tmp_path: Path) -> None:
    """A network of other sizes, recorded here, is verified like the published one."""
    from shotstream.model.config import TransformerConfig
    from shotstream.model.transformer import Transformer
    from shotstream.story.layout import frame_layout

    torch.manual_seed(0)
    config = TransformerConfig(
        dim=48, ffn_dim=40, num_heads=2, num_layers=3, in_dim=4, out_dim=4, freq_dim=16, text_dim=12, text_len=7
    )
    network = Transformer(config).eval()
    x, text, timestep = torch.randn(1, 4, 3, 4, 6), torch.randn(1, 7, 12), torch.tensor([300.0])
    layout = frame_layout(range(3), [0] * 3, [0] * 3)
    with torch.no_grad():
        flow = network(
            x.movedim(2, 1), timestep.expand(1, 3) / 1000, text[:, None], network.make_positions(layout, (4, 6))
        )
    (tmp_path / "dit").mkdir()
    (tmp_path / "dit/config.json").write_text(json.dumps({"model_type": "t2v", **to_dict(config)}))
    save_file(network.state_dict(), tmp_path / "dit/weights.safetensors")
    cases = {"t2v.x": x, "t2v.t": timestep, "t2v.text": text, "t2v.flow": flow.movedim(2, 1).contiguous()}
    save_file(cases, tmp_path / "dit/cases.safetensors")
    assert results_of(tmp_path, "dit/t2v")["dit/t2v.flow"].passed
