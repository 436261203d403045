"""Choosing a pod: pure, synchronous, no I/O. Pod table, leases, strategies, chooser."""
