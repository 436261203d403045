"""The tests that run Envoy, with every release that is supported."""
