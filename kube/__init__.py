"""A Kubernetes API server as its clients see it: calls, complete lists, watches; for any kind of object.

Pure: `objects` (JSON to structs), `lines`, `backoff`, `shelf`, `feed` (a kind, and where what is read of it goes).
Shells: `api` (HTTP), `listing` and `reflector` (a list, then watches, for ever).

The official client brings credentials and TLS. It is large, so nothing that handles requests imports this package.
"""
