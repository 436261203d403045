"""Requests a second that fill the pods (closed work: sessions), as `python -m benchmarks.routing.capacity` says."""

CAPACITIES: dict[str, float] = {}
