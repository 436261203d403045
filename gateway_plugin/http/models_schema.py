"""What the OpenAPI document says of models and of the query of a list. The answers themselves are made elsewhere."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from gateway_plugin.models.catalogue.facts import Kind, Status
from gateway_plugin.models.catalogue.query import MAX_ID_CHARACTERS, MAX_LIMIT

_PRINTABLE = r"^[^\u0000-\u001f\u007f-\u009f]*$"


class ReasonReply(BaseModel):
    """Why a model is not simply ready."""

    code: str
    pods: int
    detail: str


class ModelCanary(BaseModel):
    """Another version, and its share of users."""

    model: str
    weight_percent: float


class QuantilesReply(BaseModel):
    """Seconds, over the last five minutes."""

    p50: float
    p95: float


class ModelReply(BaseModel):
    """One model. The first four fields are OpenAI's; the others come with `detail=full`, or as `fields` says."""

    id: str
    object: Literal["model"]
    created: int = Field(description="when it was first seen, seconds since the epoch")
    owned_by: str
    kind: Kind | None = None
    root: str | None = None
    parent: str | None = None
    status: Status | None = None
    reasons: list[ReasonReply] | None = None
    ready_pods: int | None = None
    total_pods: int | None = None
    engines: list[str] | None = None
    engine_versions: list[str] | None = None
    gpus: list[str] | None = None
    max_model_len: int | None = None
    labels: dict[str, list[str]] | None = Field(None, description="of its pods, with every value that occurs")
    tags: list[str] | None = None
    confirmed: bool | None = Field(None, description="false: remembered from before the start, not seen since")
    alias_of: str | None = Field(None, description="for operators only")
    hidden: bool | None = Field(None, description="for operators only")
    canary: ModelCanary | None = Field(None, description="for operators only")
    requests_in_flight: int | None = None
    kv_cache_usage: float | None = None
    ttft_seconds: QuantilesReply | None = None
    tpot_seconds: QuantilesReply | None = None
    prompt_tokens_per_second: float | None = None
    output_tokens_per_second: float | None = None
    prefix_hit_rate: float | None = None


class ModelListReply(BaseModel):
    """Models in order of id. `last_id` is the `after` of the next page."""

    object: Literal["list"]
    data: list[ModelReply]
    first_id: str | None
    last_id: str | None
    has_more: bool


def _text(name: str, description: str, **schema: Any) -> dict[str, Any]:  # noqa: ANN401 - a JSON schema
    rule = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": _PRINTABLE} | schema
    return {"name": name, "in": "query", "required": False, "description": description, "schema": rule}


_NAME = r"^[^\u0000-\u001f\u007f-\u009f,]+$"
_FIELDS = r"^(id|created|owned_by|kind|root|parent|status|labels|tags|ttft_seconds|tpot_seconds)$"

SHAPE_PARAMETERS: list[dict[str, Any]] = [
    _text("detail", "basic: OpenAI's fields; full: all of them", enum=["basic", "full"]),
    _text("fields", "fields to add to OpenAI's, separated by commas", pattern=_FIELDS),
]
LIST_PARAMETERS: list[dict[str, Any]] = [
    _text("status", "any of these, separated by commas", enum=[status.value for status in Status]),
    _text("engine", "any of these, separated by commas", pattern=_NAME),
    _text("owned_by", "any of these, separated by commas", pattern=_NAME),
    _text("base", "adapters of this model"),
    _text("tag", "any of these, separated by commas", pattern=_NAME),
    _text(
        "label", "key=value, or key; repeated: all of them", pattern=r"^[^=\u0000-\u001f\u007f-\u009f]+(=[a-z0-9]*)?$"
    ),
    _text("q", "part of the id, in any case", minLength=0),
    {
        "name": "limit",
        "in": "query",
        "required": False,
        "description": "models on a page; without it, all are on one",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
    },
    _text("after", "only models whose id sorts after this one", maxLength=MAX_ID_CHARACTERS),
    *SHAPE_PARAMETERS,
]
