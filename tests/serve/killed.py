"""A server in a process of its own, to be killed; says its address on stdout."""

import asyncio
import sys
from pathlib import Path

import torch

from shotstream.api import Model
from shotstream.serve.http.run import open_listener, serve_model
from shotstream.serve.limits import Limits, Settings
from shotstream.weights.build import random_components
from tiny import live_model


def main() -> None:
    torch.set_num_threads(1)
    settings = Settings(Path(sys.argv[1]), port=0, limits=Limits(ahead_chunks=int(sys.argv[2])))
    say = sys.stdout
    asyncio.run(
        serve_model(
            lambda: Model(random_components(live_model())),
            settings,
            open_listener(settings),
            lambda url: print(url, file=say, flush=True),
        )
    )


if __name__ == "__main__":
    main()
