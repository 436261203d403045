"""What a topic of settings is: a frozen group of fields, each with a default, a unit and a reason."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024 * 1024

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(ge=0.01, le=3600)]
LabelPrefix = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]


class Topic(BaseModel):
    """Fields of one topic. A field's variable in the environment is `env_prefix` and the field's name, upper case.

    The class's docstring is the topic's line in docs/configuration.md.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    env_prefix: ClassVar[str] = "GATEWAY_"
    env_also: ClassVar[dict[str, str]] = {}
    """By field, a second and weaker variable: the one that AIBrix or Kubernetes has for the same thing."""

    @classmethod
    def variables(cls, name: str) -> tuple[str, ...]:
        """The environment variables of a field, strongest first."""
        also = (cls.env_also[name],) if name in cls.env_also else ()
        return (cls.env_prefix + name.upper(), *also)


def items_of(text: str) -> tuple[str, ...]:
    """The items of a list that is written with commas, in order, each once."""
    return tuple(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))
