"""What the gateway adds to Envoy alone: CPU per request and time to first byte, part by part."""
