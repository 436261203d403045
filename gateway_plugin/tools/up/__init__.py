"""One host: plugin processes, Envoy and Valkey behind one command, kept running until it is stopped."""
