"""Other products' ways to choose a pod, written anew from what they publish of them, for the benchmark only.

Each gets at once what its product would get late: in-flight counts, first tokens, engines' pages (at most 0.05 s old).
What it keeps, forgets and overlooks is as published; sources stand in `docs/benchmarking-peers.md`.
"""
