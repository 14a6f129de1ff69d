"""The documentation builds without a network, names every public class, and loads nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import shotstream
from snippets import PROJECT

API = PROJECT / "docs" / "api.md"


def test_the_page_of_the_api_names_everything_public() -> None:
    named = set(re.findall(r"^::: shotstream\.(\w+)$", API.read_text(encoding="utf8"), re.MULTILINE))
    assert named == set(shotstream.__all__) - {"open"}


@pytest.mark.slow
def test_the_site_builds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {"PATH": "", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.name: path.read_text(encoding="utf8") for path in (tmp_path / "site").glob("*.html")}
    assert {"index.html", "api.html", "training.html"} <= set(pages)
    assert "shotstream.Model.push_to_hub" in pages["api.html"]
    loaded = [
        found for page in pages.values() for found in re.findall(r"<(?:script|link|img)[^>]+https?://[^>]+>", page)
    ]
    assert loaded == []
