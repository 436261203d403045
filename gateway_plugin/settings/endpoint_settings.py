"""Settings of the topic `endpoints`."""

from __future__ import annotations

from pydantic import Field, field_validator

from gateway_plugin.endpoints.extra_paths import parse_extra_paths
from gateway_plugin.endpoints.web_pages import parse_origins
from gateway_plugin.settings.topic import Topic


class EndpointSettings(Topic):
    """Which paths are served, and to which web pages."""

    extra_paths: str = Field(
        "",
        description="exact paths of engines beyond docs/endpoints.md, as /generate, separated by commas; each asks who"
        " sends, needs a model, and counts as one request",
    )
    cors_origins: str = Field(
        "",
        description="web pages of these origins may send requests, separated by commas: https://host, https://*.host,"
        " or * for all; empty: none",
    )

    @field_validator("extra_paths")
    @classmethod
    def _are_paths(cls, text: str) -> str:
        parse_extra_paths(text)
        return text

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, text: str) -> str:
        parse_origins(text)
        return text
