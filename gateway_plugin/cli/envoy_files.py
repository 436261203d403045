"""Envoy's configuration from the endpoints file: the same pods for Envoy as for the plugin."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway_plugin.pods.endpoints_file import read_endpoints
from gateway_plugin.pods.node import EndpointsError
from gateway_plugin.tools.envoy_config.model import EnvoyConfig, Model
from gateway_plugin.tools.envoy_config.render import write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

_WATCH_SECONDS = 1.0


def write_files(endpoints: Path, config: EnvoyConfig, directory: Path) -> list[str]:
    """Names of the files that changed; raises EndpointsError for a bad endpoints file."""
    models = tuple(Model(name, pods) for name, pods in read_endpoints(endpoints).models.items())
    return write(replace(config, models=models), directory)


def follow(endpoints: Path, config: EnvoyConfig, directory: Path) -> Iterator[list[str]]:
    """Writes whenever the endpoints file changed, forever. A file that becomes bad keeps the last good result."""
    yield write_files(endpoints, config, directory)
    while True:
        time.sleep(_WATCH_SECONDS)
        try:
            changed = write_files(endpoints, config, directory)
        except EndpointsError as error:
            logger.error("not taken over: %s", error)
            continue
        if changed:
            yield changed
