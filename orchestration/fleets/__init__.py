"""Fleets of Ray clusters: which revision has how many clusters, and which cluster comes, drains and goes."""
