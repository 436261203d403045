"""Webhooks and dead letters as their API shows them in JSON. A secret is told once, when it is made."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from gateway_plugin.http.registry_schema import ModelId  # noqa: TC001 - pydantic reads it at run time
from gateway_plugin.models.webhooks.targets import MAX_URL_CHARACTERS

EventType = Literal[
    "model.added", "model.removed", "model.status_changed", "model.pods_changed", "model.changed", "adapter.loaded"
]
_MAX_MODELS = 1000
"""Whose events one webhook asks for."""
_PRINTABLE = r"^[^\u0000-\u001f\u007f-\u009f]*$"
_PORT = r"(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
# A name or an IPv4 address; no user, no fragment.
_URL = rf"^https?://[A-Za-z0-9]([A-Za-z0-9._-]{{0,251}}[A-Za-z0-9])?(:{_PORT})?([/?][!-\"$-~]*)?$"

WebhookPath = Annotated[str, Path(min_length=1, max_length=64, examples=["wh_3f9c1b2a4d5e6f7081920a1b"])]
LetterPath = Annotated[str, Path(min_length=1, max_length=64)]


class WebhookRequest(BaseModel):
    """Whom to tell what."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"url": "https://hooks.example/models", "events": ["model.status_changed"]}]},
    )

    url: str = Field(max_length=MAX_URL_CHARACTERS, pattern=_URL)
    secret: str | None = Field(
        None,
        pattern=r"^[!-~]{16,256}$",
        description="whsec_ and base64, or any printable ASCII; without it, one is made",
    )
    events: list[EventType] = Field([], max_length=20, description="empty: all")
    models: list[ModelId] = Field([], max_length=_MAX_MODELS, description="ids; empty: all")
    description: str = Field("", max_length=256, pattern=_PRINTABLE)


class WebhookReply(BaseModel):
    """A webhook, without its secret."""

    id: str
    url: str
    events: list[str]
    models: list[str]
    description: str
    created: int


class NewWebhookReply(WebhookReply):
    """A new webhook. Only this answer has its secret."""

    secret: str


class WebhookList(BaseModel):
    """All of them, oldest first."""

    object: Literal["list"] = "list"
    data: list[WebhookReply]


class DeadLetterReply(BaseModel):
    """An event that was not taken, why, and what was sent."""

    id: str
    event_id: str
    event_type: str
    created: int
    attempts: int
    error: str
    body: str


class DeadLetterList(BaseModel):
    """Those of one webhook, newest first."""

    object: Literal["list"] = "list"
    data: list[DeadLetterReply]


class RedeliveryReply(BaseModel):
    """Whether it was taken this time; if so, the dead letter is gone."""

    delivered: bool
    error: str | None
