"""Every GATEWAY_... in a container is a setting of what runs there, with a value that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.controller.controller_settings import ControllerSettings
from gateway_plugin.settings.loading import load, settings_of
from gateway_plugin.settings.settings import Settings

if TYPE_CHECKING:
    from tests.unit.deploy.manifests.conftest import Objects


def environment(objects: Objects, name: str) -> dict[str, str]:
    (container,) = objects.get("Deployment", name)["spec"]["template"]["spec"]["containers"]
    return {item["name"]: item.get("value", "a-secret") for item in container["env"]}


def test_the_plugins(objects: Objects):
    ours = environment(objects, "gateway-plugin")
    assert set(ours) <= {variable for setting in settings_of(Settings) for variable in setting.variables}
    loaded = load(environ=ours)
    assert loaded.warnings == ()
    assert loaded.settings.pods.discovery == "kubernetes"
    assert loaded.settings.redis.effective_url == "redis://:a-secret@gateway-plugin-redis:6379"


def test_the_controllers(objects: Objects):
    ours = environment(objects, "gateway-plugin-controller")
    assert set(ours) <= {setting.variables[0] for setting in settings_of(ControllerSettings)}
    gateway = objects.get("Gateway")["metadata"]
    assert ours["GATEWAY_GATEWAY_NAME"] == gateway["name"]
    assert ours["GATEWAY_ROUTE_NAMESPACE"] == gateway["namespace"]
