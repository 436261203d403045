"""Bench, demo, and Envoy's configuration."""
