"""Errors whose message is for the user."""


class InputError(ValueError):
    """Something the caller handed in cannot be used.

    The message is one line: what was expected, what came, what to do. The command line prints it and exits with 2.
    """
