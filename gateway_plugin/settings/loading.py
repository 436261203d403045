"""Reads settings: the environment wins over a YAML file, which wins over the defaults.

pydantic-settings reads the same sources, but does not tell which of them a value came from; `gateway-plugin config` and
every error do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from gateway_plugin.settings import plain_yaml
from gateway_plugin.settings.nearest import did_you_mean
from gateway_plugin.settings.settings import Settings
from gateway_plugin.settings.topic import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

PREFIX = "GATEWAY_"
CONFIG_FILE_VARIABLE = "GATEWAY_CONFIG"

S = TypeVar("S", bound=BaseModel)


class SettingsError(ValueError):
    """The configuration cannot be used; the text names key, value and what is allowed, one line per mistake."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One field, wherever it stands: its keys in the YAML file, and its variables in the environment."""

    path: tuple[str, ...]
    field: FieldInfo
    variables: tuple[str, ...]

    @property
    def name(self) -> str:
        """As people write it: topic.field."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class LoadedOf(Generic[S]):
    """Settings; by `Setting.name`, where the value is from ("default", "environment NAME", "file PATH"); warnings."""

    settings: S
    origins: Mapping[str, str]
    warnings: tuple[str, ...]


Loaded = LoadedOf[Settings]


def settings_of(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """All fields of a topic, or of the topics in `model`."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Topic):
            yield from settings_of(kind, (*path, name))
        elif issubclass(model, Topic):
            yield Setting((*path, name), field, model.variables(name))


def load(config_file: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """Reads and checks everything; raises SettingsError."""
    return load_as(Settings, config_file, environ)


def load_as(model: type[S], config_file: Path | None, environ: Mapping[str, str] | None = None) -> LoadedOf[S]:
    """The same for the settings of another process."""
    env = os.environ if environ is None else environ
    known = tuple(settings_of(model))
    values = _read_yaml(config_file)
    origins = dict.fromkeys((setting.name for setting in known), "default")
    for setting in known:
        parent = _parent(values, setting.path)
        if setting.path[-1] in parent:
            origins[setting.name] = f"file {config_file}"
        if variable := _variable_in(env, setting):
            parent[setting.path[-1]], origins[setting.name] = env[variable], f"environment {variable}"
    try:
        settings = model.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item, origins, known, config_file) for item in error.errors())) from None
    return LoadedOf(settings, origins, tuple(_strangers(env, known)))


def _parent(values: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path[:-1]:
        if values.get(key) is None:  # absent, or a topic without a line below it
            values[key] = {}
        values = values[key]
        if not isinstance(values, dict):
            raise SettingsError(f"{key} = {values!r}: is a topic; its settings stand below it, one a line")
    return values


def _variable_in(env: Mapping[str, str], setting: Setting) -> str:
    for variable in setting.variables:
        if env.get(variable) and not _injected_by_kubernetes(variable, env[variable]):
            return variable
    return ""


def _read_yaml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = plain_yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"config file {path}: {error.strerror}") from None
    except (plain_yaml.PlainYamlError, UnicodeDecodeError) as error:
        raise SettingsError(f"config file {path} is not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"config file {path}: must be a mapping of topics to their settings")
    return {str(key): value for key, value in content.items()}


def _injected_by_kubernetes(variable: str, value: str) -> bool:
    # A Service called "redis" gives every container REDIS_PORT=tcp://10.0.0.1:6379.
    return variable.endswith("_PORT") and value.startswith("tcp://")


def _explain(
    item: ErrorDetails, origins: Mapping[str, str], known: tuple[Setting, ...], config_file: Path | None
) -> str:
    path = tuple(str(key) for key in item["loc"])
    setting = next((each for each in known if each.path == path[: len(each.path)]), None)
    if setting is None and item["type"] == "value_error":  # settings that do not fit together name themselves
        return str(item["ctx"]["error"])
    if setting is None:
        return f"{'.'.join(path)}: no such setting (file {config_file}){_where(path, known)}"
    value = "<secret>" if setting.field.annotation is SecretStr else repr(item["input"])
    allowed = _allowed(setting.field.annotation, setting.field.metadata)
    return f"{setting.name} = {value} ({origins[setting.name]}): {item['msg']}{allowed}"


def _where(path: tuple[str, ...], known: tuple[Setting, ...]) -> str:
    """For a key in the wrong place, under the name that its variable has, or misspelt."""
    name, variable = path[-1], PREFIX + path[-1].upper()
    for setting in known:
        if setting.path[-1] == name or variable in setting.variables:
            return f"; did you mean {setting.name}?"
    names = {setting.name for setting in known} if len(path) > 1 else {setting.path[0] for setting in known}
    return did_you_mean(".".join(path), names) or "; `gateway-plugin config` lists them all"


def _allowed(annotation: object, metadata: list[Any]) -> str:
    if get_origin(annotation) is Literal:
        return f"; allowed: {', '.join(get_args(annotation))}"
    bounds = {key: getattr(item, key) for item in metadata for key in ("ge", "le") if hasattr(item, key)}
    if not bounds:
        return ""
    return f"; allowed: {bounds.get('ge', '')} to {bounds.get('le', 'any')}"


def _strangers(env: Mapping[str, str], known: tuple[Setting, ...]) -> list[str]:
    # Kubernetes also injects GATEWAY_..._PORT for a Service of that name, so a stranger is a warning, not a mistake.
    variables = {CONFIG_FILE_VARIABLE, *(variable for setting in known for variable in setting.variables)}
    unknown = sorted(name for name in env if name.startswith(PREFIX) and name not in variables)
    return [f"environment variable {name} is not a setting and was ignored" for name in unknown]
