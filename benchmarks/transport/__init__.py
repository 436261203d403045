"""Our own HTTP/2 beside grpc.aio: a bare ext_proc echo, and what is kept."""
