"""Real handshakes: ALPN, client certificates, and certificates that change while we serve."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from gateway_plugin.grpc.http2.tls_protocol import ReloadingContext
from gateway_plugin.grpc.tls import TlsError, TlsFiles
from tests.integration.wire.conftest import Serve


class Authority:
    """A certificate authority that writes files into a directory."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.files = TlsFiles(directory / "tls.crt", directory / "tls.key")
        self.issue()

    def issue(self) -> None:
        """A new certificate in the old files, complete at once for whoever looks."""
        issued = self.ca.issue_cert("127.0.0.1", "localhost")
        for path, content in (
            (self.files.key, issued.private_key_pem.bytes()),
            (self.files.chain, b"".join(pem.bytes() for pem in issued.cert_chain_pems)),
        ):
            temporary = path.with_suffix(".new")
            temporary.write_bytes(content)
            os.replace(temporary, path)  # noqa: PTH105

    def with_client_ca(self) -> TlsFiles:
        path = self.files.chain.with_name("ca.crt")
        self.ca.cert_pem.write_to_path(path)
        return TlsFiles(self.files.chain, self.files.key, path)

    async def serial(self, port: int, alpn: tuple[str, ...] = ("h2",)) -> int:
        """Of the certificate that is shown."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        context.set_alpn_protocols(list(alpn))
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="127.0.0.1")
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        certificate = tls.getpeercert()
        writer.close()
        assert certificate is not None
        return int(str(certificate["serialNumber"]), 16)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def echo(address: str, credentials: grpc.ChannelCredentials) -> bytes:
    channel: Any
    async with grpc.aio.secure_channel(address, credentials) as channel:
        answer: bytes = await channel.unary_unary("/t.T/Echo")(b"hello", timeout=10)
        return answer


async def test_grpc_over_tls_with_a_certificate_that_changes(wire: Serve, authority: Authority):
    credentials = grpc.ssl_channel_credentials(authority.ca.cert_pem.bytes())
    async with wire(tls=authority.files) as served:
        assert await echo(served.address, credentials) == b"hello"
        first = await authority.serial(served.listener.port)
        assert await authority.serial(served.listener.port) == first
        channel: Any
        async with grpc.aio.secure_channel(served.address, credentials) as channel:
            call = channel.stream_stream("/t.T/Echo")()
            await call.write(b"1")
            assert await call.read() == b"1"
            authority.issue()
            assert await authority.serial(served.listener.port) != first
            await call.write(b"2")
            assert await call.read() == b"2", "open connections go on"
        authority.files.key.write_text("rubbish")
        second = await authority.serial(served.listener.port)
        assert second != first, "the last good files stay in use"


async def test_client_certificates(wire: Serve, authority: Authority):
    root = authority.ca.cert_pem.bytes()
    client = authority.ca.issue_cert("envoy")
    chain = client.cert_chain_pems[0].bytes()
    async with wire(tls=authority.with_client_ca()) as served:
        known = grpc.ssl_channel_credentials(root, client.private_key_pem.bytes(), chain)
        assert await echo(served.address, known) == b"hello"
        stranger = trustme.CA().issue_cert("envoy")
        for credentials in (
            grpc.ssl_channel_credentials(root),
            grpc.ssl_channel_credentials(root, stranger.private_key_pem.bytes(), stranger.cert_chain_pems[0].bytes()),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await echo(served.address, credentials)
            assert error.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_client_without_h2_is_cut_off(wire: Serve, authority: Authority):
    context = ssl.create_default_context()
    authority.ca.configure_trust(context)
    async with wire(tls=authority.files) as served:
        port = served.listener.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="127.0.0.1")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


def test_files_that_cannot_be_used_stop_the_start(authority: Authority):
    authority.files.chain.write_text("rubbish")
    with pytest.raises(TlsError, match=r"tls\.crt"):
        ReloadingContext(authority.files)
