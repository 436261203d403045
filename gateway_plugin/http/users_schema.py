"""Users, usage and keys as the REST face of the users API shows them in JSON.

What is sent is checked strictly: a number in quotes or a misspelt field is an error. What is answered is not checked
again, because other programs write records, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ratelimit.users.api_keys import MAX_LABEL_CHARACTERS
from ratelimit.users.users import MAX_NAME_CHARACTERS, UserRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

# JSON numbers are exact in every client up to here.
MAX_LIMIT = 2**53 - 1
_MAX_MODELS = 1000
"""That one user may be limited by or held to."""

# Control characters are refused by the store; this tells the readers of the document.
NAME_RULE: dict[str, Any] = {"pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"}


def _whole(value: object) -> object:
    # To JSON 3.0 is an integer, and some clients write it so.
    return int(value) if isinstance(value, float) and value.is_integer() else value


_WHOLE = BeforeValidator(_whole)
Limit = Annotated[int, Field(ge=0, le=MAX_LIMIT, description="per minute; 0: the configured default"), _WHOLE]
OverrideLimit = Annotated[int, Field(ge=0, le=MAX_LIMIT, description="per minute, for this model; 0: none"), _WHOLE]
QuotaLimit = Annotated[int, Field(ge=0, le=MAX_LIMIT, description="in the period; 0: no limit"), _WHOLE]
Parallel = Annotated[int, Field(ge=0, le=MAX_LIMIT, description="requests at the same time; 0: no limit"), _WHOLE]
Expiry = Annotated[int, Field(ge=0, le=2**40, description="Unix seconds; the key is nobody's from then on"), _WHOLE]
Name = Annotated[
    str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS, json_schema_extra=NAME_RULE, examples=["lgy"])
]
ModelName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]


def _is_none(value: object) -> bool:
    return value is None


_EXAMPLE = {
    "rpm": 100,
    "tpm": 100000,
    "max_parallel": 8,
    "models": ["llama-3-8b", "qwen-2-72b"],
    "disabled": False,
    "overrides": {"qwen-2-72b": {"rpm": 10, "tpm": 0}},
}


def _examples(*examples: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": list(examples)})


class Sent(BaseModel):
    """Checked strictly."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Quota(Sent):
    """Of one period; 0: none."""

    requests: QuotaLimit = 0
    tokens: QuotaLimit = 0


class Quotas(Sent):
    """By the calendar of the setting `quota_time_zone`. Replaced as a whole."""

    hour: Quota = Quota()
    day: Quota = Quota()
    month: Quota = Quota()

    def stored(self) -> dict[str, tuple[int, int]]:
        """As in a record: only those that say something."""
        every = {"hour": self.hour, "day": self.day, "month": self.month}
        return {period: (one.requests, one.tokens) for period, one in every.items() if one.requests or one.tokens}


class Override(Sent):
    """Limits that hold for one model on top of the user's own."""

    rpm: OverrideLimit = 0
    tpm: OverrideLimit = 0


class _UserFields(Sent):
    rpm: Limit = 0
    tpm: Limit = 0
    max_parallel: Parallel = 0
    models: list[ModelName] = Field(
        [], max_length=_MAX_MODELS, description="allow list of names, or of labels as label:key=value; empty: all"
    )
    disabled: bool = Field(False, description="every request of a disabled user is refused")
    overrides: dict[ModelName, Override] = Field({}, max_length=_MAX_MODELS, description="by model")
    group: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,64}$", description="of which the limits hold, too; empty: none")
    quotas: Quotas = Field(default_factory=Quotas)

    def changes(self) -> dict[str, Any]:
        """The fields that were sent, as those of a record."""
        sent: dict[str, Any] = {name: getattr(self, name) for name in self.model_fields_set}
        sent.pop("name", None)
        if "models" in sent:
            sent["models"] = tuple(sent["models"])
        if "quotas" in sent:
            sent["quotas"] = self.quotas.stored()
        if "overrides" in sent:
            sent["overrides"] = {model: (limits.rpm, limits.tpm) for model, limits in sent["overrides"].items()}
        return sent


class NewUser(_UserFields):
    """A user to create; what is left out has its default."""

    model_config = _examples({"name": "lgy", **_EXAMPLE})

    name: Name


class WholeUser(_UserFields):
    """All of a user: what is left out gets its default. A name, if sent, must be that of the path."""

    model_config = _examples(_EXAMPLE)

    name: Name | None = None


def _without_defaults(schema: dict[str, Any]) -> None:
    # What is left out of a change stays as it is, so a default in the document would mislead.
    for field in schema["properties"].values():
        field.pop("default", None)
    schema["examples"] = [{"rpm": 200, "disabled": True}]


class UserPatch(_UserFields):
    """What to change. `models` and `overrides` are replaced as a whole."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)


class OverrideReply(BaseModel):
    """Limits for one model; 0: no such limit."""

    rpm: int
    tpm: int


class QuotaReply(BaseModel):
    """Of one period; 0: none."""

    requests: int
    tokens: int


class QuotasReply(BaseModel):
    """By period; left out: none."""

    hour: QuotaReply | None = Field(None, exclude_if=_is_none)
    day: QuotaReply | None = Field(None, exclude_if=_is_none)
    month: QuotaReply | None = Field(None, exclude_if=_is_none)


class UserReply(BaseModel):
    """A user. rpm and tpm are as stored: 0 means the configured default; `/usage` shows what that comes to."""

    model_config = _examples({"name": "lgy", **_EXAMPLE})

    name: str
    rpm: int
    tpm: int
    max_parallel: int
    models: list[str]
    disabled: bool
    overrides: dict[str, OverrideReply]
    group: str | None = Field(None, description="left out: of none", exclude_if=_is_none)
    quotas: QuotasReply | None = Field(None, description="left out: none", exclude_if=_is_none)


class UserList(BaseModel):
    """One page, sorted by name. `next_after` is the `after` of the next page; null: this is the last one."""

    model_config = _examples({"object": "list", "data": [{"name": "lgy", **_EXAMPLE}], "next_after": "lgy"})

    object: str = "list"
    data: list[UserReply]
    unreadable: list[str] = Field([], description="users whose record cannot be read")
    next_after: str | None


class WindowUsage(BaseModel):
    """The last minute. More than the limit may be used: tokens are known for certain only afterwards."""

    limit: int
    used: int
    remaining: int


class ParallelUsage(BaseModel):
    """Requests in flight; null: there is no limit, and nothing is counted."""

    limit: int | None
    used: int | None
    remaining: int | None


class QuotaUsage(BaseModel):
    """What was spent of a quota in the current period."""

    scope: str = Field(description="user, or its group", examples=["user"])
    period: str = Field(examples=["day"])
    kind: str = Field(description="requests or tokens", examples=["tokens"])
    limit: int
    used: int
    remaining: int
    returns_at: int = Field(description="when the period is over, in seconds since 1970")


class UsageReply(BaseModel):
    """What a user may spend, after defaults, and has spent over all models."""

    model_config = _examples(
        {
            "user": "lgy",
            "requests": {"limit": 100, "used": 3, "remaining": 97},
            "tokens": {"limit": 100000, "used": 1234, "remaining": 98766},
            "parallel": {"limit": 8, "used": 1, "remaining": 7},
        }
    )

    user: str
    requests: WindowUsage
    tokens: WindowUsage
    parallel: ParallelUsage
    quotas: list[QuotaUsage] | None = Field(None, description="left out: none", exclude_if=_is_none)


class KeyRequest(Sent):
    """What the key is for."""

    label: str = Field("", max_length=MAX_LABEL_CHARACTERS, pattern=NAME_RULE["pattern"], examples=["notebook of lgy"])
    expires_at: Expiry | None = None


class KeyPatch(Sent):
    """When a key ends: now, or later, as when another one takes its place."""

    expires_at: Expiry


class KeyReply(BaseModel):
    """A key as it may be shown. `prefix` is how its secret begins, times are seconds since the epoch."""

    model_config = _examples(
        {
            "id": "3f9c1b2a4d5e6f70",
            "label": "notebook of lgy",
            "prefix": "gw-x7Kq",
            "created_at": 1767225600,
            "expires_at": None,
        }
    )

    id: str
    label: str
    prefix: str
    created_at: int
    expires_at: int | None
    """Null: never."""


class NewKeyReply(BaseModel):
    """A new key. Only this answer has its secret: the gateway keeps a hash of it."""

    model_config = _examples(
        {"id": "3f9c1b2a4d5e6f70", "label": "notebook of lgy", "secret": "gw-x7Kq…43 characters in all"}
    )

    id: str
    label: str
    secret: str


class KeyList(BaseModel):
    """All keys of a user, oldest first."""

    object: str = "list"
    data: list[KeyReply]


def user_reply(record: UserRecord) -> UserReply:
    return UserReply(
        name=record.name,
        rpm=min(record.rpm, MAX_LIMIT),
        tpm=min(record.tpm, MAX_LIMIT),
        max_parallel=min(record.max_parallel, MAX_LIMIT),
        models=list(record.models),
        disabled=record.disabled,
        overrides={
            model: OverrideReply(rpm=min(rpm, MAX_LIMIT), tpm=min(tpm, MAX_LIMIT))
            for model, (rpm, tpm) in record.overrides.items()
        },
        group=record.group or None,
        quotas=quotas_reply(record.quotas) if record.quotas else None,
    )


def quotas_reply(quotas: Mapping[str, tuple[int, int]]) -> QuotasReply:
    """As they are stored."""
    return QuotasReply(**{period: QuotaReply(requests=one[0], tokens=one[1]) for period, one in quotas.items()})
