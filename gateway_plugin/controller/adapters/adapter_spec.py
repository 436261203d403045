"""A ModelAdapter as its author wrote it, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from orchestration.adapters.artifact import Artifact, artifact_of
from orchestration.adapters.placement import POLICIES

if TYPE_CHECKING:
    from gateway_plugin.controller.workloads import Raw

FINALIZER = "adapter.model.aibrix.ai/finalizer"
"""AIBrix's own, so that either controller can finish what the other began."""
SERVED_NAME = "model.aibrix.ai/served-name"
"""An annotation: the name that clients use, where an object's name cannot be it (`org/adapter`)."""
LOAD = "model.aibrix.ai/load"
"""An annotation; `first-use`: the adapter is loaded when somebody asks for it, and let go when a pod has too many."""
FIRST_USE = "first-use"
_MOST_ERRORS = 3
"""Of one object: a condition is read by a person."""


class AdapterError(Exception):
    """What is wrong with a ModelAdapter: a condition's reason and message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class _Expression(_Part):
    key: str
    operator: str
    values: tuple[str, ...] = ()

    def text(self) -> str:
        """As the API's `labelSelector` writes it."""
        match self.operator:
            case "In" | "NotIn" if self.values:
                return f"{self.key} {self.operator.lower()} ({','.join(self.values)})"
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
        raise AdapterError("InvalidSpec", f"podSelector: operator {self.operator!r} with {len(self.values)} values")


class _Selector(_Part):
    match_labels: dict[str, str] = {}
    match_expressions: tuple[_Expression, ...] = ()

    def text(self) -> str:
        parts = [f"{key}={value}" for key, value in sorted(self.match_labels.items())]
        parts += [expression.text() for expression in self.match_expressions]
        if not parts:
            raise AdapterError("InvalidSpec", "podSelector is empty, which would mean every pod of the namespace")
        return ",".join(parts)


class _SecretRef(_Part):
    name: str = ""


class ModelAdapterSpec(_Part):
    base_model: str = ""
    pod_selector: _Selector
    artifact_url: str = Field(alias="artifactURL")
    scheduler_name: str = "default"
    replicas: int | None = Field(None, ge=1)
    credentials_secret_ref: _SecretRef = _SecretRef()
    additional_config: dict[str, str] = {}

    @property
    def artifact(self) -> Artifact:
        return artifact_of(self.artifact_url)

    @property
    def selector(self) -> str:
        return self.pod_selector.text()


def read_adapter_spec(raw: Raw) -> ModelAdapterSpec:
    """AdapterError when it is not one."""
    try:
        spec = ModelAdapterSpec.model_validate(raw.get("spec") or {})
        artifact_of(spec.artifact_url)
    except ValidationError as error:
        parts = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:_MOST_ERRORS])
        raise AdapterError("InvalidSpec", "; ".join(parts)) from None
    except ValueError as error:
        raise AdapterError("InvalidArtifact", str(error)) from None
    if spec.scheduler_name not in POLICIES:
        message = f"schedulerName {spec.scheduler_name!r} is none of {', '.join(POLICIES)}"
        raise AdapterError("InvalidSpec", message)
    spec.pod_selector.text()
    return spec


def loads_at_first_use(raw: Raw) -> bool:
    return ((raw.get("metadata") or {}).get("annotations") or {}).get(LOAD) == FIRST_USE


def served_name(raw: Raw) -> str:
    """What engines and clients call it."""
    metadata = raw.get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(SERVED_NAME) or metadata.get("name", ""))
