"""`python -m shotstream`: the same as the `shotstream` command."""

import sys

from shotstream.cli import main

if __name__ == "__main__":
    sys.exit(main())
