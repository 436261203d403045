"""ext_proc: one HTTP exchange as a sans-IO state machine, and the gRPC shell that carries it."""
