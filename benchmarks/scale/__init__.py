"""Scale: what the plugin's own work costs with many pods, prompts and events, without Envoy."""
