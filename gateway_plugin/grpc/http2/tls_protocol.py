"""TLS of the listener: h2 by ALPN, optionally client certificates, and files that may change while we run.

Every handshake takes the context of the newest good files: new files reach new connections, open ones go on.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from gateway_plugin.grpc.tls import Reloading, TlsError

if TYPE_CHECKING:
    from gateway_plugin.grpc.tls import TlsFiles


class ReloadingContext:
    """`context` is for the listening side; raises TlsError when the files are no good at the start."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._reloading = Reloading(files)
        self.context = self._newest = new_context(files)
        self.context.sni_callback = self._choose

    def _choose(self, handshake: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        if self._reloading.renewed() is not None:
            self._newest = new_context(self._files)
        handshake.context = self._newest


def new_context(files: TlsFiles) -> ssl.SSLContext:
    """What RFC 9113 asks for (9.2), with these files; raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")  # of TLS 1.2; appendix A forbids the others
    context.set_alpn_protocols(["h2"])
    try:
        context.load_cert_chain(files.chain, files.key)
        if files.client_ca is not None:
            context.load_verify_locations(files.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one
        raise TlsError(str(error)) from None
    return context
