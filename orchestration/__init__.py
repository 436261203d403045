"""What is wanted of a cluster: how many replicas, which adapters where. Pure; knows neither Kubernetes nor HTTP."""
