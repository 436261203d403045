"""`doctor` in front of a healthy cluster, of clusters with one fault each, and for somebody who may see little."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway_plugin.controller.controller_settings import ControllerSettings
from gateway_plugin.controller.reconciler import Reconciler
from gateway_plugin.controller.route_client import connected
from tests.broken_clusters import healthy
from tests.broken_clusters.changes import MODELS, ROUTES
from tests.broken_clusters.faults import FAULTS, Fault
from tests.fake_kubernetes import FakeServer
from tests.integration.controller.test_route_doctor import doctor


@pytest.fixture
async def sound(server: FakeServer, tmp_path: Path) -> FakeServer:
    """Installed, with a model and its route."""
    for plural in ("gateways", "gatewayclasses"):
        server.cluster.delete(plural, "gateway-plugin", ROUTES)
    healthy.install(server.cluster)
    await reconcile(server, tmp_path)
    assert "simulated-router" in server.cluster.names("httproutes", ROUTES)
    return server


async def reconcile(server: FakeServer, directory: Path) -> None:
    """What the controller does when it is woken."""
    async with connected(server.kubeconfig(directory)) as client:
        rules = ControllerSettings().rules
        reconciler = Reconciler(client, rules, resync_seconds=300, now=lambda: datetime.now(UTC), rng=random.Random(1))
        await reconciler.round()


async def test_nothing_alarming_on_a_healthy_cluster(sound: FakeServer, tmp_path: Path):
    code, output = await doctor(sound.kubeconfig(tmp_path))
    assert (code, output.splitlines()[0]) == (0, "Nothing is wrong.")
    assert "fix:" not in output


async def test_nothing_alarming_for_somebody_who_may_see_one_namespace(sound: FakeServer, tmp_path: Path):
    rule = {"apiGroups": ["", "apps"], "resources": ["deployments", "services", "pods"], "verbs": ["get", "list"]}
    sound.access.add_role({"rules": [rule]}, MODELS)
    code, output = await doctor(sound.kubeconfig(tmp_path))
    assert (code, output.splitlines()[0]) == (0, "Nothing is wrong.")
    assert "fix:" not in output
    assert f"Looked at in {MODELS}, {ROUTES} only." in output


def test_there_are_enough_faults_and_each_is_another():
    assert len(FAULTS) >= 20
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_the_fault_and_its_mend_are_in_the_first_line(sound: FakeServer, tmp_path: Path, fault: Fault):
    cluster = sound.cluster
    for change in fault.changes:
        healthy.apply(cluster, change)
    if not fault.is_controller_away:
        await reconcile(sound, tmp_path)
    for change in fault.told:
        healthy.apply(cluster, change)
    for plural, name, namespace in fault.old:
        healthy.grow_old(cluster, plural, name, namespace)
    for plural in fault.missing:
        cluster.uninstall(plural)
    code, output = await doctor(sound.kubeconfig(tmp_path))
    first = output.splitlines()[0]
    assert code == 1
    assert first.startswith(f"{fault.code}: "), output
    assert "; fix: " in first
    assert not [word for word in fault.mend if word not in first], first
