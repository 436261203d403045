"""docs/configuration.md: the settings of every process in one page."""

from __future__ import annotations

from gateway_plugin.cli import settings_table
from gateway_plugin.controller.controller_settings import ControllerSettings

_CONTROLLER = """
## Controller and doctor

`gateway-plugin controller` and `gateway-plugin doctor` read these in the same way, from a file of their own, without
topics.
"""


def page() -> str:
    """The whole of it."""
    return settings_table.markdown() + _CONTROLLER + settings_table.rows(ControllerSettings)
