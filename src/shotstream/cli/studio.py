"""`shotstream studio`: the server, and a browser in front of it."""

import threading
import webbrowser
from urllib.parse import quote

import typer

from shotstream.cli.options import ModelOptions, examples, flat_options
from shotstream.cli.serve import ServerOptions
from shotstream.core.extras import EXTRAS, require_packages
from shotstream.core.log import show_warnings

app = typer.Typer()


@app.command("studio", epilog=examples("shotstream studio", "shotstream studio --model DIR --data ~/stories"))
@flat_options
def run(server: ServerOptions, model: ModelOptions) -> None:
    """Direct stories live in the browser."""
    require_packages("shotstream studio", *EXTRAS["serve"])
    from shotstream.serve.http.run import serve

    show_warnings()
    settings = server.settings()

    def show(url: str) -> None:
        print(f"The studio is at {url}", flush=True)
        page = url if settings.token is None else f"{url}?token={quote(settings.token)}"
        # in a thread, because a text browser blocks until its user leaves it
        threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()

    model.check_live()
    serve(model.open_live, settings, show)
