"""Settings of the topic `tls`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it at run time
from typing import ClassVar

from pydantic import Field, model_validator

from gateway_plugin.settings.topic import Topic


class TlsSettings(Topic):
    """TLS between Envoy and grpc_port."""

    env_prefix: ClassVar[str] = "GATEWAY_GRPC_TLS_"

    cert_file: Path | None = Field(
        None, description="PEM certificate chain of grpc_port; with it the port speaks TLS; read again when it changes"
    )
    key_file: Path | None = Field(None, description="PEM private key of cert_file")
    client_ca_file: Path | None = Field(
        None, description="PEM certificates that sign Envoy's; with it only their holders may connect (mTLS)"
    )

    @model_validator(mode="after")
    def _fit_together(self) -> TlsSettings:
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("tls.cert_file and tls.key_file: set both, or neither")
        if self.client_ca_file and not self.cert_file:
            raise ValueError("tls.client_ca_file: needs tls.cert_file and tls.key_file")
        return self
