"""The catalogue while it lives: kept fresh, kept over restarts, shared among replicas, told to whoever listens."""
