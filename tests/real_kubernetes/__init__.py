"""The whole gateway on a real Kubernetes: `make test-kubernetes` (as root, on Linux, with Go).

kube-apiserver, kube-controller-manager, etcd, Envoy Gateway and helm are built once and kept. All
of it runs in network and mount namespaces of its own: a bridge is the cluster's network, each pod has one with an
address on it, and nothing can be reached from outside, or reach out. `node.py` is scheduler, kubelet and kube-proxy, as
far as pods of this chart, Envoy Gateway's Envoys and simulated engines need them.
"""
