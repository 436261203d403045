"""Envoy's side of the gateway: its configuration as data (model), as files (render), and running (process)."""
