"""Structure of the package: imports go one way, docs/architecture.md names every module, only commands print."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "shotstream"
ARCHITECTURE = Path(__file__).parent.parent / "docs" / "architecture.md"
ROOT = "(root)"
FLOORS = (
    "core", "model", "weights", "runtime", "story", "engine", "world", "data", "train", ROOT,
    "bench", "scores", "metrics", "study", "parity", "serve", "cli",
)  # fmt: skip
"""From the ground up. The root modules (`api`, the package itself) are the public face: what measures, serves and
commands the engine uses it as anybody would; what makes it does not."""

Modules = dict[str, ast.Module]


def read_modules(source: Path) -> Modules:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text(encoding="utf8"))
    return found


def imports_of(name: str, modules: Modules) -> Iterator[str]:
    """Modules of the package that a module imports: at its top, inside functions, and for its annotations."""
    for node in ast.walk(modules[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules or node.module in modules:
                    yield inner if inner in modules else str(node.module)


def floor_of(name: str, modules: Modules) -> int:
    """How high a module lives; the package itself and its plain modules are the root, `__main__` is above all."""
    if name == "shotstream.__main__":
        return len(FLOORS)
    folder = [*name.split("."), ""][1]
    is_folder = any(other.startswith(f"shotstream.{folder}.") for other in modules)
    return FLOORS.index(folder if is_folder else ROOT)


def upward_imports(modules: Modules) -> list[str]:
    """Imports that go up."""
    return [
        f"{name} -> {target}"
        for name in modules
        for target in imports_of(name, modules)
        if floor_of(target, modules) > floor_of(name, modules)
    ]


def find_cycle(modules: Modules) -> list[str]:
    """Modules that import each other in a ring; none where there is no ring."""
    try:
        TopologicalSorter({name: set(imports_of(name, modules)) - {name} for name in modules}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def prints(modules: Modules) -> list[str]:
    """Calls of `print`, as module:line."""
    return [
        f"{name}:{node.lineno}"
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def mentions_distributed(tree: ast.Module) -> bool:
    """Whether a module imports `torch.distributed` or reaches for it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and any(alias.name.startswith("torch.distributed") for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            if any(name.startswith("torch.distributed") for name in names):
                return True
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("torch.distributed"):
            return True
    return False


ONE_MEANING = {
    "EXIT_INPUT", "Frames", "GREY", "PAGE", "ReadCaptions", "T", "WEB", "app", "evaluate_videos", "main", "make_app",
    "report_data", "router", "run", "to_markdown", "words",
}  # fmt: skip
"""Public names that several modules define with the same meaning: commands, routers, pages, reports as data."""


def shared_names(modules: Modules) -> list[str]:
    """Public names that more than one module defines at its top, with these modules."""
    homes: dict[str, list[str]] = {}
    for module, tree in modules.items():
        for name in {name for node in tree.body for name in _defined(node) if not name.startswith("_")}:
            homes.setdefault(name, []).append(module)
    return [f"{name}: {', '.join(found)}" for name, found in sorted(homes.items()) if len(found) > 1]


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


@pytest.fixture(scope="module")
def modules() -> Modules:
    return read_modules(SOURCE)


def test_every_folder_has_a_floor() -> None:
    folders = {path.parent.relative_to(SOURCE).parts[0] for path in SOURCE.glob("*/**/*.py")}
    assert folders <= set(FLOORS)


def test_the_architecture_page_names_every_module() -> None:
    page = ARCHITECTURE.read_text(encoding="utf8")
    sections = re.findall(r"^### `([a-z_/]+)/`$(.*?)(?=^##)", page, re.MULTILINE | re.DOTALL)
    named = {
        folder: set(re.findall(r"`([a-z0-9_]+)`", " ".join(re.findall(r"^(?:- |  )(.*)$", text, re.MULTILINE))))
        for folder, text in sections
    }
    there = {
        folder.relative_to(SOURCE).as_posix(): {path.stem for path in folder.glob("[!_]*.py")}
        for folder in (path.parent for path in SOURCE.glob("*/**/__init__.py"))
    }
    assert named == there


def test_imports_go_down(modules: Modules) -> None:
    assert upward_imports(modules) == []


def test_no_module_imports_itself_by_a_detour(modules: Modules) -> None:
    assert find_cycle(modules) == []


def test_models_know_nothing_of_other_processes(modules: Modules) -> None:
    networks = {name: tree for name, tree in modules.items() if name.startswith("shotstream.model")}
    assert networks
    assert [name for name, tree in networks.items() if mentions_distributed(tree)] == []


def test_only_commands_print(modules: Modules) -> None:
    assert prints({name: tree for name, tree in modules.items() if not name.startswith("shotstream.cli")}) == []


def test_no_public_name_has_two_meanings(modules: Modules) -> None:
    assert [found for found in shared_names(modules) if found.partition(":")[0] not in ONE_MEANING] == []


def imported_by(statement: str) -> set[str]:
    """Top-level packages that are loaded once a fresh interpreter has run a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_alone_loads_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "transformers", "av", "rich", "huggingface_hub", "safetensors"}
    light = ("errors", "spec", "config", "atomic_files", "log", "profiling")
    loaded = imported_by("import shotstream\n" + "\n".join(f"import shotstream.core.{name}" for name in light))
    assert "shotstream" in loaded
    assert loaded & heavy == set()


def test_the_core_loads_no_model_libraries() -> None:
    core = sorted(path.stem for path in (SOURCE / "core").glob("[!_]*.py"))
    loaded = imported_by("\n".join(f"import shotstream.core.{name}" for name in core))
    assert loaded & {"transformers", "tokenizers", "huggingface_hub", "safetensors", "ftfy"} == set()


def test_opening_a_model_loads_transformers_and_no_optional_library() -> None:
    alone = "import shotstream.api, shotstream.model.text_encoder, shotstream.story.script_check"
    assert "transformers" not in imported_by(alone)
    loaded = imported_by("import shotstream\nshotstream.open('storyworld')")
    assert {"torch", "transformers"} <= loaded
    assert loaded & {"diffusers", "peft", "gguf", "sentencepiece", "fastapi", "tensorboard", "cv2"} == set()


def test_the_checks_find_what_they_look_for(tmp_path: Path) -> None:
    source = tmp_path / "shotstream"
    files = {
        "__init__.py": "",
        "core/__init__.py": "",
        "core/a.py": "def f():\n    from shotstream.core import b\n    print(b)",
        "core/b.py": "import shotstream.core.a",
        "core/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shotstream.model.d import D",
        "model/__init__.py": "",
        "model/d.py": "import torch\nfrom shotstream import core\nD = torch.distributed.get_rank()",
        "model/e.py": "from torch import distributed\nfrom shotstream import api",
        "api.py": "import shotstream.model.d",
    }
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    broken = read_modules(source)
    assert upward_imports(broken) == [
        "shotstream.core.c -> shotstream.model.d",
        "shotstream.model.e -> shotstream.api",
    ]
    assert set(find_cycle(broken)) == {"shotstream.core.a", "shotstream.core.b"}
    assert prints(broken) == ["shotstream.core.a:3"]
    twice = {
        "a": ast.parse("class One: pass\n_two = 2"),
        "b": ast.parse("One: int = 1\n_two = 2"),
        "c": ast.parse("x = 1"),
    }
    assert shared_names(twice) == ["One: a, b"]
    flagged = [name for name, tree in broken.items() if mentions_distributed(tree)]
    assert flagged == ["shotstream.model.d", "shotstream.model.e"]
