"""Clusters with one fault each, as data: what somebody did, and what others say about it then.

`faults` has them; `healthy` is what they start from on the fake API server. The same faults are made in a real cluster
by `tests.real_kubernetes`, where Envoy Gateway and the kubelets say the rest themselves.
"""
