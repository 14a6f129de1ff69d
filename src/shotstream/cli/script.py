"""`shotstream script check`: what a multi-shot model will not follow in a script."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from shotstream.cli.options import JsonFile, examples
from shotstream.cli.output import check_outputs, emit_json, make_console

app = typer.Typer(name="script", help="Check scripts of stories.", no_args_is_help=True)


@app.callback()
def _script() -> None:
    """Check scripts of stories."""


@app.command(
    "check",
    epilog=examples(
        "shotstream script check story.json",
        "shotstream script check prompts/ --tokenizer Wan2.1-T2V-1.3B/google/umt5-xxl --strict",
    ),
)
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Scripts, or directories of them.")],
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="T", show_default="google/umt5-xxl, if here", help="The text encoder's: a directory or a hub id."
        ),
    ] = None,
    tokens: Annotated[
        int, typer.Option(metavar="N", help="How many tokens of a caption the text encoder reads.")
    ] = 512,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    json_file: JsonFile = None,
) -> int:
    """Check who is in every shot, framing, cuts and lengths; exit with 1 if there is an error."""
    from shotstream.core.errors import InputError
    from shotstream.story.script_check import TOKENIZER, CaptionLimit, check_file, find_scripts, find_tokenizer

    check_outputs(json_file)
    if tokens < 1:
        raise InputError(f"expected --tokens of at least 1, got {tokens}")
    found = find_tokenizer(tokenizer or TOKENIZER)
    if tokenizer and found is None:
        raise InputError(
            f"expected a tokenizer at {tokenizer}, found none; run: hf download {tokenizer} --include '*.json'"
        )
    limit = CaptionLimit(tokens, found)
    checked = [one for path in find_scripts(files) for one in check_file(path, limit)]
    console = make_console(json_file, wrap=False)
    for one in checked:
        for finding in one.findings:
            where = f", shot {finding.shot}" if finding.shot else ""
            console.print(f"{one.name}{where}: {finding.level}: {finding.message} ({finding.rule})")
    counts = {level: sum(one.count(level) for one in checked) for level in ("error", "warning", "note")}
    told = ", ".join(f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items())
    how = "counted by the tokenizer"
    if found is None:
        fetch = f"hf download {TOKENIZER} --include '*.json'"
        how = f"estimated, rather too high, because the tokenizer is not on this machine; to count them: {fetch}"
    console.print(f"{len(checked)} {'story' if len(checked) == 1 else 'stories'}: {told}; tokens {how}")
    data: dict[str, Any] = {
        "stories": [asdict(one) for one in checked],
        "counts": counts,
        "tokens_estimated": found is None,
    }
    emit_json(json_file, data)
    return int(counts["error"] > 0 or (strict and counts["warning"] > 0))
