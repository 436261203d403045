"""Names of routes and Services for models whose own names Kubernetes would refuse.

A route is `<model>-router` where that is a valid name, as in AIBrix. Otherwise the model's name is lowered, each run of
other characters becomes one dash, and the first 12 hex digits of its SHA-256 follow: `Qwen/Qwen2.5-7B` becomes
`qwen-qwen2-5-7b-<hash>-router`. Two models get one name only if 48 bits of SHA-256 agree; `desired` looks for that.
Service names are shorter, know no dots and begin with a letter, so they are hashed more often.
"""

from __future__ import annotations

import hashlib
import re

_SUFFIX = "-router"
_HASH_CHARACTERS = 12
"""48 bits: two of 10,000 names meet once in five million clusters."""
_MAX_SUBDOMAIN = 253
"""RFC 1123, as Kubernetes holds names of objects to it."""
_MAX_LABEL = 63
"""RFC 1123, as Kubernetes holds names of Services to it."""

_SUBDOMAIN = re.compile(r"(?!.{254})[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_SERVICE = re.compile(r"(?!.{64})[a-z]([a-z0-9-]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"(?!.{64})[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_HEADER_VALUE = re.compile(r"(?!.{4097})[!-~]+([\t ]?[!-~]+)*")
_OTHER = re.compile(r"[^a-z0-9]+")


def route_name(model: str) -> str:
    """The HTTPRoute of a model."""
    plain = model + _SUFFIX
    return plain if _SUBDOMAIN.fullmatch(plain) else _hashed(model, model, _MAX_SUBDOMAIN - len(_SUFFIX)) + _SUFFIX


def service_name(model: str) -> str:
    """The Service of a model, where it has none of its own."""
    return model if _SERVICE.fullmatch(model) else _service_hashed(model, model)


def workload_service_name(model: str, workload: str) -> str:
    """The Service of one workload, where no label selects all pods of the model."""
    return _service_hashed(model, f"{model} {workload}")


def grant_name(route_namespace: str, namespace: str) -> str:
    """The ReferenceGrant that lets routes reach the Services of a namespace; AIBrix's name for it."""
    return f"{route_namespace}-reserved-referencegrant-in-{namespace}"


def is_label_value(text: str) -> bool:
    """Whether a label can carry it."""
    return _LABEL_VALUE.fullmatch(text) is not None


def is_header_value(text: str) -> bool:
    """Whether a route can match a header of this value."""
    return _HEADER_VALUE.fullmatch(text) is not None


def is_service_name(text: str) -> bool:
    """Whether a Service can have this name."""
    return _SERVICE.fullmatch(text) is not None


def _service_hashed(model: str, hashed: str) -> str:
    name = _hashed(model, hashed, _MAX_LABEL)
    return name if name[0].isalpha() else _hashed(f"m-{model}", hashed, _MAX_LABEL)


def _hashed(text: str, hashed: str, limit: int) -> str:
    digest = hashlib.sha256(hashed.encode()).hexdigest()[:_HASH_CHARACTERS]
    base = _OTHER.sub("-", text.lower()).strip("-") or "model"
    return f"{base[: limit - len(digest) - 1].rstrip('-')}-{digest}"
