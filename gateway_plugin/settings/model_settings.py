"""Settings of the topic `models`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it at run time
from typing import ClassVar

from pydantic import Field

from gateway_plugin.settings.topic import Topic


class ModelSettings(Topic):
    """The list of models, and what is kept of it."""

    env_prefix: ClassVar[str] = "GATEWAY_MODELS_"

    poll_seconds: float = Field(
        5.0, description="between two reads of an engine's own /v1/models, for adapters; 0: never", ge=0, le=3600
    )
    keep_seconds: float = Field(
        3600.0, description="how long a model without pods stays listed, as unavailable", ge=0, le=30 * 86400
    )
    file: Path | None = Field(
        None, description="keeps models, aliases and webhooks over restarts; only without Redis, which keeps them else"
    )
    owned_by: str = Field(
        "gateway-plugin", description="owner of models whose pods have no label owned-by", min_length=1, max_length=256
    )
