"""The whole chain on one machine, all of it real: Valkey, simulated pods, the plugin, Envoy. For demo and tests."""
