"""Makes and checks what stands in `deploy/`: the kustomization (rendered from the Helm chart) and its xDS.

`make manifests` renders, `make manifests-check` checks. Not part of the service: it runs where the repository is.
"""
