"""Envoy's configuration from the endpoints file: the same pods for Envoy as for the plugin."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway_plugin.pods.endpoints_file import reread_endpoints
from gateway_plugin.pods.node import EndpointsError
from gateway_plugin.settings.watched_file import WatchedFile
from gateway_plugin.tools.envoy_config.model import EnvoyConfig, Model
from gateway_plugin.tools.envoy_config.render import write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway_plugin.pods.endpoints_file import EndpointsFile

logger = logging.getLogger(__name__)

_WATCH_SECONDS = 1.0


def follow(endpoints: Path, config: EnvoyConfig, directory: Path) -> Iterator[list[str]]:
    """Writes whenever the endpoints file changed, forever; yields the names of the files that changed.

    Raises EndpointsError for a file that is bad at first. One that becomes bad keeps the last good result.
    """
    file = WatchedFile(endpoints)
    good, shape = reread_endpoints(endpoints, None)
    yield _written(good, config, directory)
    while True:
        time.sleep(_WATCH_SECONDS)
        if not file.has_changed():
            continue
        try:
            good, shape = reread_endpoints(endpoints, shape)
        except EndpointsError as error:
            logger.error("not taken over, the last good one stays: %s", error)
            continue
        if changed := _written(good, config, directory):
            yield changed


def _written(endpoints: EndpointsFile, config: EnvoyConfig, directory: Path) -> list[str]:
    models = tuple(Model(name, pods) for name, pods in endpoints.models.items())
    return write(replace(config, models=models), directory)
