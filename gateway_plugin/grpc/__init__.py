"""gRPC: calls, health, TLS, listeners, and the two transports."""
