"""Metrics: families, their counters, and the page of all."""
