"""Discovery on Kubernetes: list and watch of pods and ModelAdapters, through `kube`.

Pure: `pod_objects` (JSON to structs), `label_keys` (names of labels), `pod_reader` and `adapter_reader` (an object to
what it means, or a complaint), `book` (everything seen, to one ClusterState), `reporter`. Shells: `events` (complaints
as Kubernetes Events), `discovery` (all together).

The client below `kube` is large: nothing outside this package imports from it before `discovery: kubernetes` is set.
"""
