"""Certificates in files that others renew: read at the start, and again whenever they change.

A renewal writes several files one after the other, so a pair that does not fit yet is no reason to stop: the last good
one stays, and the next handshake looks again.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)


class TlsError(ValueError):
    """The files cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM texts. `client_ca` is empty when clients need no certificate."""

    chain: bytes
    key: bytes
    client_ca: bytes


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the PEM texts are."""

    chain: Path
    key: Path
    client_ca: Path | None = None

    def version(self) -> tuple[tuple[int, int, int], ...]:
        """Differs when a file was written or replaced."""
        stats = [path.stat() for path in self._paths()]
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)

    def read(self) -> Certificates:
        """The texts, checked; raises TlsError."""
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.chain, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
            texts = [path.read_bytes() for path in self._paths()]
        except (OSError, ValueError) as error:
            raise TlsError(f"{', '.join(map(str, self._paths()))}: {error}") from None
        return Certificates(texts[0], texts[1], texts[2] if self.client_ca is not None else b"")

    def _paths(self) -> tuple[Path, ...]:
        return (self.chain, self.key, self.client_ca) if self.client_ca is not None else (self.chain, self.key)


class Reloading:
    """The last good certificates; `renewed` is asked at every handshake and costs a few stat calls."""

    def __init__(self, files: TlsFiles) -> None:
        self.current = files.read()
        self._files = files
        self._version = files.version()
        self._complained = False

    def renewed(self) -> Certificates | None:
        """The new certificates, once after each change; None when there is nothing new, or nothing good."""
        try:
            version = self._files.version()
            if version == self._version:
                return None
            self.current = self._files.read()
        except (OSError, TlsError) as error:
            if not self._complained:
                logger.error("certificates not reloaded, the last good ones stay: %s", error)
            self._complained = True
            return None
        self._version, self._complained = version, False
        logger.info("certificates of the gRPC port reloaded")
        return self.current
