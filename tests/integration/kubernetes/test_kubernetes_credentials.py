"""How the API server is reached: as a pod with a service account, over TLS, or with a kubeconfig file."""

from __future__ import annotations

import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import trustme
from kubernetes.aio.config import incluster_config

from kube.api import Api, ApiRefusedError, ApiUnreachableError, CredentialsError
from kube.objects import decode_page
from tests.fake_kubernetes import FakeServer, pod, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PODS = "/api/v1/pods"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def secure_server(authority: trustme.CA) -> AsyncIterator[FakeServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with running(tls=context) as server:
        server.cluster.create("pods", pod("a"))
        yield server


@pytest.fixture
def in_a_pod(
    secure_server: FakeServer, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FakeServer:
    """The files and variables that a pod finds."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    (tmp_path / "token").write_text(secure_server.token)
    host, port = secure_server.url.removeprefix("https://").split(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    return secure_server


async def count_pods(api: Api) -> int:
    await api.connect()
    try:
        return len(decode_page(await api.get(PODS, {})).items or [])
    finally:
        await api.close()


async def test_a_service_account(in_a_pod: FakeServer) -> None:
    assert await count_pods(Api()) == 1
    in_a_pod.token = "another"
    with pytest.raises(ApiRefusedError, match="401 Unauthorized"):
        await count_pods(Api())


async def test_a_token_that_was_renewed(in_a_pod: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaders: list[incluster_config.InClusterConfigLoader] = []
    load = incluster_config.InClusterConfigLoader.load_and_set

    def remember(self: incluster_config.InClusterConfigLoader, configuration: object) -> None:
        loaders.append(self)
        load(self, configuration)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(incluster_config.InClusterConfigLoader, "load_and_set", remember)
    api = Api()
    await api.connect()
    in_a_pod.token = "renewed"
    (tmp_path / "token").write_text("renewed")
    loaders[0].token_expires_at -= timedelta(minutes=2)
    assert decode_page(await api.get(PODS, {})).items
    await api.close()


async def test_a_server_that_nobody_vouches_for(
    in_a_pod: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    with pytest.raises(ApiUnreachableError, match="certificate verify failed"):
        await count_pods(Api())


async def test_a_pod_without_a_service_account(in_a_pod: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "token").unlink()
    with pytest.raises(CredentialsError, match=r"no credentials \(.*token file does not exist"):
        await Api().connect()


async def test_a_file_goes_before_the_service_account(server: FakeServer, in_a_pod: FakeServer, tmp_path: Path) -> None:
    assert await count_pods(Api(server.kubeconfig(tmp_path))) == 0
    assert await count_pods(Api()) == 1


async def test_the_usual_file(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.aio.config import kube_config

    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(server.kubeconfig(tmp_path)))
    assert await count_pods(Api()) == 0


@pytest.mark.parametrize("content", [None, "no: [kubeconfig", "clusters: []"])
async def test_no_usable_file(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CredentialsError, match="no credentials"):
        await Api(path).connect()


async def test_nobody_listens(tmp_path: Path) -> None:
    async with running() as server:
        path = server.kubeconfig(tmp_path)
    with pytest.raises(ApiUnreachableError, match="Cannot connect"):
        await count_pods(Api(path))
