"""Discovery on Kubernetes: list and watch of pods and ModelAdapters, through the official client.

Pure: `objects` (JSON to structs), `keys` (names of labels), `pod_reader` and `adapter_reader` (an object to what it
means, or a complaint), `book` (everything seen, to one ClusterState), `lines`, `backoff`, `reporter`. Shells: `api`
(HTTP), `listing` and `reflector` (a list, then watches, for ever), `events` (complaints as Kubernetes Events),
`discovery` (all together).

The client is large: nothing outside this package imports from it before `discovery: kubernetes` is set.
"""
