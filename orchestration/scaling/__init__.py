"""How many replicas a workload should have."""
