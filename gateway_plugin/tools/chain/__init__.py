"""Valkey, pods, the plugin and Envoy as processes on loopback: for the demo, benchmarks and tests."""
