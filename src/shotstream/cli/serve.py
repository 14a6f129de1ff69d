"""`shotstream serve`: serve live stories to browsers and programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from shotstream.cli.options import GuidanceOption, ModelOptions, NegativePromptOption, examples, flat_options
from shotstream.core.extras import EXTRAS, require_packages
from shotstream.core.log import show_warnings
from shotstream.serve.limits import DEFAULT_PORT, Limits, Settings

TOKEN_VARIABLE = "SHOTSTREAM_TOKEN"
GIB = 2**30

app = typer.Typer()


@dataclass(frozen=True)
class ServerOptions:
    """Options of the server: where it listens, where it keeps stories, and its limits."""

    host: Annotated[str, typer.Option(metavar="H", help="Address to listen at.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(metavar="P", help="Port to listen at; 0 takes a free one.")] = DEFAULT_PORT
    data: Annotated[Path, typer.Option(metavar="DIR", help="Where stories are kept.")] = Path("shotstream-data")
    token: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            envvar=TOKEN_VARIABLE,
            help="What clients must send; needed for any address but this machine's.",
        ),
    ] = None
    public_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Its address behind a proxy, with the path below which it stands there (https://HOST/PATH).",
        ),
    ] = None
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IP",
            help="Address or network of a proxy whose X-Forwarded-Host is believed; may be repeated. Without it, "
            "those of this machine.",
        ),
    ] = None
    guidance: GuidanceOption = None
    negative_prompt: NegativePromptOption = ""
    sessions: Annotated[int, typer.Option(metavar="N", help="Stories open at once.")] = Limits.sessions
    viewers: Annotated[int, typer.Option(metavar="N", help="Viewers at once.")] = Limits.viewers
    shots: Annotated[int, typer.Option(metavar="N", help="Shots of a story.")] = Limits.shots
    disk_gib: Annotated[float, typer.Option(metavar="G", help="Disk space for all stories, GiB.")] = (
        Limits.disk_bytes / GIB
    )

    def settings(self) -> Settings:
        """Return the server's settings.

        Raises:
            InputError: they cannot be used.
        """
        limits = Limits(
            sessions=self.sessions, viewers=self.viewers, shots=self.shots, disk_bytes=round(self.disk_gib * GIB)
        )
        proxies = tuple(self.trusted_proxy) if self.trusted_proxy else Settings.trusted_proxies
        return Settings(
            self.data,
            self.host,
            self.port,
            self.token,
            limits,
            self.public_url,
            proxies,
            self.guidance,
            self.negative_prompt,
        )


@app.command(
    "serve",
    epilog=examples("shotstream serve", "SHOTSTREAM_TOKEN=secret shotstream serve --host 0.0.0.0 --data /srv/stories"),
)
@flat_options
def run(server: ServerOptions, model: ModelOptions) -> None:
    """Serve live stories to browsers and programs."""
    require_packages("shotstream serve", *EXTRAS["serve"])
    from shotstream.serve.http.run import serve

    show_warnings()
    model.check_live()
    serve(model.open_live, server.settings(), lambda url: print(f"ShotStream is at {url}", flush=True))
