"""What is wrong with an object, for the person who made it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ComplaintReason(Enum):
    """The value is the metric's label; the name of the Kubernetes Event is `event`."""

    EMPTY_MODEL_NAME = "empty_model_name"
    BAD_PORT = "bad_port"
    BAD_METRIC_PORT = "bad_metric_port"
    BAD_DATA_PARALLEL_SIZE = "bad_data_parallel_size"
    BAD_CONFIG = "bad_config"
    SAME_ADDRESS = "same_address"
    UNREADABLE = "unreadable"

    @property
    def event(self) -> str:
        """As Kubernetes spells reasons: "BadPort"."""
        return self.value.title().replace("_", "")


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """Which object."""

    kind: str
    api_version: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One mistake; `text` says what is there, what may be there, and what follows."""

    about: ObjectRef
    reason: ComplaintReason
    text: str

    def __str__(self) -> str:
        return f"{self.about}: {self.text}"
