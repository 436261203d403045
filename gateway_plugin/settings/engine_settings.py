"""Settings of the topic `engines`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it at run time
from typing import ClassVar

from pydantic import Field, SecretStr

from gateway_plugin.settings.topic import Topic


class EngineSettings(Topic):
    """What engines want from the gateway."""

    env_prefix: ClassVar[str] = "GATEWAY_ENGINE_"

    api_key: SecretStr = Field(
        SecretStr(""), description="sent to engines as `Authorization: Bearer`, in place of the client's credentials"
    )
    api_keys_file: Path | None = Field(
        None,
        description="the same per model: YAML that maps models to keys, say of a mounted Secret; followed",
    )
