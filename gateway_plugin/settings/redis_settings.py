"""Settings of the topic `redis`."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import quote

from pydantic import Field, SecretStr

from gateway_plugin.settings.topic import Port, Seconds, Topic


class RedisSettings(Topic):
    """The store that replicas share; without it limits live in this process."""

    env_prefix: ClassVar[str] = "GATEWAY_REDIS_"
    env_also: ClassVar[dict[str, str]] = {"host": "REDIS_HOST", "port": "REDIS_PORT", "password": "REDIS_PASSWORD"}

    url: SecretStr = Field(
        SecretStr(""),
        description="redis://[user:password@]host:port[/db]; empty, and no host: limits live in this process",
    )
    host: str = Field("", description="used when url is empty")
    port: Port = Field(6379, description="with host")
    password: SecretStr = Field(SecretStr(""), description="with host")
    timeout_seconds: Seconds = Field(0.5, description="per call; no request waits longer for the limiter")

    @property
    def effective_url(self) -> str:
        """The URL with its password, or empty when limits live in memory."""
        if self.url.get_secret_value() or not self.host:
            return self.url.get_secret_value()
        password = quote(self.password.get_secret_value(), safe="")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis://{f':{password}@' if password else ''}{host}:{self.port}"
