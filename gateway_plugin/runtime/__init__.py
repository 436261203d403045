"""The sidecar beside an engine: downloads, adapters, readiness, metrics under one set of names.

It knows nothing of the other rooms: it runs in another container, with AIBrix's command names and environment.
"""
