"""Our own gRPC-over-HTTP/2 server transport, made for one kind of client: Envoy.

    frames, hpack, fields     bytes of RFC 9113 and RFC 7541, in and out
    stream, connection        HTTP/2 as a machine without I/O: bytes in, calls of stream hooks and bytes out
    grpc_framing, grpc_call   gRPC on a stream: messages, statuses, deadlines; carries a `CallHandler`
    protocol, listener        the asyncio shell: sockets, timers, TLS, draining

A fault of the peer ends its stream or its connection, never more. All that a peer can make us keep or do is bounded by
`bounds.Bounds`.
"""
