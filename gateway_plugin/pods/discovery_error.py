"""Why there are no pods to begin with."""


class DiscoveryError(ValueError):
    """Discovery cannot start; the text says what to correct."""
