"""Options that several commands share, and the decorator that lets a command take them as a dataclass."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

import shotstream
from shotstream.model.config import as_sampler_kind
from shotstream.runtime.garbage import freeze_objects

if TYPE_CHECKING:
    from shotstream.api import Model
    from shotstream.core.spec import ShotShape
    from shotstream.story.script import Script

DEFAULT_MODEL = "storyworld"

JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; - is standard output.")
]
Device = Annotated[str, typer.Option(metavar="D", help="auto, cpu, cuda, cuda:N or mps.")]
Threads = Annotated[
    int | None, typer.Option(metavar="N", show_default="torch's choice", help="Processor threads to use.")
]
ContextOption = Annotated[
    str | None,
    typer.Option(
        metavar="C",
        show_default="the model's",
        help="How context frames are chosen: dynamic, first, first_last, none or relevant.",
    ),
]
GuidanceOption = Annotated[
    float | None,
    typer.Option(metavar="G", show_default="the model's", help="Scale of guidance, 1 (none) to 30, where taken."),
]
NegativePromptOption = Annotated[
    str, typer.Option(metavar="TEXT", show_default="none", help="What guidance leads away from, where taken.")
]
RoleOption = Annotated[
    str | None,
    typer.Option(
        "--role",
        metavar="R",
        show_default="assumed, with a note",
        help="How published weights are sampled: student, teacher or base.",
    ),
]
CheckpointKey = Annotated[
    str | None,
    typer.Option(metavar="K", show_default="generator", help="Container of the weights, such as generator_ema."),
]
SamplerOption = Annotated[
    str | None,
    typer.Option(
        metavar="S", show_default="the model's", help="few_step, euler; with the extra samplers unipc, dpm++, ddim."
    ),
]
ModelName = Annotated[str, typer.Option("--model", metavar="M", help="A name, a directory or a hub id.")]


@dataclass(frozen=True)
class ModelOptions:
    """Model-loading options of every command that runs a model."""

    model: ModelName = DEFAULT_MODEL
    device: Device = "auto"
    text_device: Annotated[
        str | None,
        typer.Option(
            metavar="D",
            show_default="as --device",
            help="Where the text encoder stays; cpu leaves its memory to the rest.",
        ),
    ] = None
    compile: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the transformer: the first shot takes minutes longer (see warmup), later less."
        ),
    ] = False
    graphs: Annotated[
        bool, typer.Option("--graphs", help="Record a chunk's work as CUDA graphs in the first shot; CUDA only.")
    ] = False
    fp8: Annotated[
        bool,
        typer.Option("--fp8", help="Linear layers in 8-bit floats: faster, but lossy; CUDA from capability 8.9 on."),
    ] = False
    fp8_attention: Annotated[
        bool,
        typer.Option(
            "--fp8-attention",
            help="Self-attention in 8-bit floats: faster, but lossy; needs FlashAttention 3, so capability 9.0.",
        ),
    ] = False
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", show_default="the model's", help="Fewer steps a chunk: faster, but lossy."),
    ] = None
    sampler: SamplerOption = None
    decoder: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            show_default="the model's",
            help="Decode with a tiny VAE for Wan2.1's latents, a file or a hub id: faster, but lossy.",
        ),
    ] = None
    role: RoleOption = None
    checkpoint_key: CheckpointKey = None
    policy: Annotated[
        str | None,
        typer.Option(metavar="P", show_default="the model's", help="System that makes the video; see policies."),
    ] = None

    def shot_shape(self) -> "ShotShape":
        """Return the shape of the model's shots, before any weights are read.

        Raises:
            InputError: its configuration cannot be read.
        """
        from shotstream.weights.hub import read_shot_shape

        return read_shot_shape(self.model)

    def check_script(self, script: "Script", shape: "ShotShape") -> None:
        """Check that the policy that was asked for can make a story, before any weights are read.

        Raises:
            InputError: there is no such policy, or the story or the sampler does not fit it.
        """
        from shotstream.engine.policies import find_system

        if self.policy is not None:
            spec = find_system(self.policy).spec
            spec.check_script(script, shape)
            if self.sampler is not None:
                spec.check_sampler(as_sampler_kind(self.sampler))

    def check_live(self) -> None:
        """Check that the policy makes stories whose shots come one by one.

        Raises:
            InputError: there is no such policy, or it needs the whole script first.
        """
        from shotstream.engine.policies import find_system

        if self.policy is not None:
            find_system(self.policy).spec.check_live()

    def open_live(self) -> "Model":
        """Open the model that the options name, for stories whose shots come one by one.

        Raises:
            InputError: as `open`, or the model was trained for a policy that needs the whole script first.
        """
        model = self.open()
        model.policy.check_live()
        return model

    def open(self) -> "Model":
        """Open the model that the options name.

        Raises:
            InputError: there is no such model or device, or an option is not available here.
        """
        options = asdict(self)
        model = shotstream.open(options.pop("model"), compiled=options.pop("compile"), **options)
        freeze_objects()
        return model


def flat_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command take dataclasses of options: each of their fields becomes an option of the command."""
    signature = inspect.signature(function, eval_str=True)
    groups: dict[str, Any] = {
        name: one.annotation for name, one in signature.parameters.items() if is_dataclass(one.annotation)
    }
    flat = [one for parameter in signature.parameters.values() for one in _flatten(parameter)]

    @wraps(function)
    def run(**values: Any) -> Any:
        made = {name: kind(**{one.name: values.pop(one.name) for one in fields(kind)}) for name, kind in groups.items()}
        return function(**values, **made)

    ordered = sorted(flat, key=lambda one: one.default is not inspect.Parameter.empty)
    run.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in ordered}
    return run


def _flatten(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """Yield one parameter for each field of a dataclass, or the parameter itself."""
    if not is_dataclass(parameter.annotation):
        yield parameter
        return
    hints = get_type_hints(parameter.annotation, include_extras=True)
    for field in fields(parameter.annotation):
        yield parameter.replace(name=field.name, annotation=hints[field.name], default=field.default)


def examples(*lines: str) -> str:
    """Return the examples of a command as the last section of its help, one to a line."""
    return "\n\n".join(("[bold]Examples[/bold]", *lines))
