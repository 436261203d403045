"""Why the process does not start."""


class StartError(RuntimeError):
    """The process cannot start; the text says why and what to change."""
