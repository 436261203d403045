"""TLS between Envoy and the plugin: both show certificates, and the plugin's may be renewed while it runs."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from gateway_plugin.tools.chain.stack import StackOptions
from gateway_plugin.tools.envoy_config.model import PluginTls

if TYPE_CHECKING:
    from tests.integration.chain.conftest import OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

NAME = "gateway-plugin.test"


@dataclass
class Files:
    """A certificate authority, and what it signed for the plugin and for Envoy."""

    directory: Path
    authority: trustme.CA

    def write_plugin_certificate(self) -> None:
        issued = self.authority.issue_cert(NAME)
        issued.private_key_pem.write_to_path(self.path("plugin.key"))
        (chain,) = issued.cert_chain_pems
        chain.write_to_path(self.path("plugin.crt"))

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def options(self) -> StackOptions:
        envoy = PluginTls(self.path("ca.crt"), NAME, self.path("envoy.crt"), self.path("envoy.key"))
        environment = {
            "GATEWAY_GRPC_TLS_CERT_FILE": self.path("plugin.crt"),
            "GATEWAY_GRPC_TLS_KEY_FILE": self.path("plugin.key"),
            "GATEWAY_GRPC_TLS_CLIENT_CA_FILE": self.path("ca.crt"),
        }
        return StackOptions({"m": 1}, redis=False, speed=10, plugin_tls=envoy, plugin_environment=environment)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path, trustme.CA())
    found.authority.cert_pem.write_to_path(found.path("ca.crt"))
    found.write_plugin_certificate()
    envoy = found.authority.issue_cert("envoy.test")
    envoy.private_key_pem.write_to_path(found.path("envoy.key"))
    envoy.cert_chain_pems[0].write_to_path(found.path("envoy.crt"))
    return found


def served_serial(port: int, files: Files, *, with_certificate: bool = True) -> str:
    """The serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=files.path("ca.crt"))
    context.set_alpn_protocols(["h2"])
    if with_certificate:
        context.load_cert_chain(files.path("envoy.crt"), files.path("envoy.key"))
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as secure,
    ):
        assert secure.selected_alpn_protocol() == "h2"
        # With TLS 1.3 a server refuses a client's certificate, or its lack, after the handshake.
        if not secure.recv(1):
            raise ConnectionResetError
        certificate = secure.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])


async def test_requests_pass_over_tls_before_and_after_a_renewal(files: Files, open_gateway: OpenGateway):
    async with open_gateway(files.options()) as gateway:
        port = gateway.stack.ports.grpc
        assert (await gateway.post()).status_code == 200
        first = await asyncio.to_thread(served_serial, port, files)
        files.write_plugin_certificate()
        deadline = time.monotonic() + 5
        while await asyncio.to_thread(served_serial, port, files) == first:
            assert time.monotonic() < deadline
        assert (await gateway.post()).status_code == 200


async def test_strangers_are_turned_away(files: Files, open_gateway: OpenGateway):
    async with open_gateway(files.options()) as gateway:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.to_thread(served_serial, gateway.stack.ports.grpc, files, with_certificate=False)
        assert (await gateway.post()).status_code == 200
