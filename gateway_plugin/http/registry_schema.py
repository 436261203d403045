"""Aliases and rules of models as the registry API shows them in JSON."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from gateway_plugin.models.catalogue.query import MAX_ID_CHARACTERS

_PRINTABLE = r"^[^\u0000-\u001f\u007f-\u009f]+$"
# Paths are checked by hand, in the words of the other mistakes in them.
_SHOWN: dict[str, Any] = {"pattern": _PRINTABLE}

ModelId = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS, pattern=_PRINTABLE)]
IdPath = Annotated[
    str,
    Path(
        min_length=1,
        max_length=MAX_ID_CHARACTERS,
        json_schema_extra=_SHOWN,
        description="percent-encoded where needed; may contain /",
        examples=["gpt-4o"],
    ),
]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class AliasRequest(_Sent):
    """Another name of a model."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"target": "llama-3-70b", "restore_name": False}]})

    target: ModelId
    restore_name: bool = Field(False, description="responses name the model as the client did")


class AliasReply(BaseModel):
    """An alias; `created` is seconds since the epoch."""

    name: str
    target: str
    restore_name: bool
    created: int


class CanaryRequest(_Sent):
    """Another version, and its share of the model's users."""

    model: ModelId
    weight_percent: float = Field(ge=0, le=100)


class RuleRequest(_Sent):
    """All that holds for a model; what is left out is as without a rule."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"hidden": False, "canary": {"model": "llama-3-70b-v2", "weight_percent": 10}}]}
    )

    hidden: bool = Field(False, description="not listed; who knows the name can still use it")
    canary: CanaryRequest | None = None


class CanaryReply(BaseModel):
    """A canary."""

    model: str
    weight_percent: float


class RuleReply(BaseModel):
    """What holds for a model."""

    model: str
    hidden: bool
    canary: CanaryReply | None


class RegistryReply(BaseModel):
    """Everything, in order of name."""

    object: str = "registry"
    aliases: list[AliasReply]
    models: list[RuleReply]
