"""Profiles: what the operator wants for a model, as the annotation `model.aibrix.ai/config` says it.

    {"lockedRoutingStrategy": "prefix-cache",
     "defaultProfile": "chat",
     "profiles": {"chat": {"routingStrategy": "least-request", "routingConfig": {...}, "requestsPerSecond": 100},
                  "long": {"routingConfig": {"promptTokensGte": 8192}}}}

A request names a profile, or `auto`: then each profile's hints (`promptTokensGte`, `promptTokensLt`, `maxTokensGte`,
`maxTokensLt` in its `routingConfig`) are held against the request, and of those profiles whose hints are all met the
most specific one wins. Unknown names, and `auto` without a match, mean the default profile, if there is one. Absent,
null and blank are the same; unknown keys are left to others; all else that is wrong raises, as nobody reads a guess.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any

import msgspec

from routing.strategies.options import OPTIONS, with_defaults, wrong_option

DEFAULT_PROFILE = "default"
AUTO = "auto"
_EMPTY: Mapping[str, Any] = MappingProxyType({})

_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 80


class ProfileError(ValueError):
    """A mistake in a model's configuration: where, what is there, what may be there."""

    def __init__(self, where: str, value: object, allowed: str) -> None:
        super().__init__(f"{where} is {_shown.repr(value)}; allowed: {allowed}")


@dataclass(frozen=True, slots=True)
class Hints:
    """Requests that a profile is meant for; None where it does not care."""

    prompt_tokens_gte: int | None = None
    prompt_tokens_lt: int | None = None
    max_tokens_gte: int | None = None
    max_tokens_lt: int | None = None

    def match(self, prompt_tokens: float, max_tokens: int | None) -> bool:
        """Whether all hints are met; a request that sets no maximum meets no hint on it."""
        return _within(prompt_tokens, self.prompt_tokens_gte, self.prompt_tokens_lt) and _within(
            max_tokens, self.max_tokens_gte, self.max_tokens_lt
        )

    @property
    def order(self) -> tuple[float, ...]:
        """Sorts the most specific first: more hints, then narrower ones, the prompt's before the maximum's."""
        hints = (self.prompt_tokens_gte, self.prompt_tokens_lt, self.max_tokens_gte, self.max_tokens_lt)
        prompt_gte, prompt_lt, max_gte, max_lt = hints
        return (hints.count(None), -(prompt_gte or 0), _or_endless(prompt_lt), -(max_gte or 0), _or_endless(max_lt))


@dataclass(frozen=True, slots=True)
class Profile:
    """One named choice. An empty strategy leaves it to the gateway's default; 0 requests per second is no limit."""

    name: str
    strategy: str = ""
    config: Mapping[str, float] = field(default_factory=lambda: OPTIONS)
    """The options of strategies, as they hold here."""
    requests_per_second: int = 0
    hints: Hints = Hints()


_NO_PROFILE = Profile("")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The configuration of one model."""

    locked_strategy: str = ""
    """Goes before what the client asks for."""
    default: Profile | None = None
    profiles: Mapping[str, Profile] = field(default_factory=lambda: _EMPTY)
    automatic: tuple[Profile, ...] = ()
    """Profiles with hints, the most specific first."""


class Resolved(msgspec.Struct, frozen=True, gc=False):
    """What holds for one request. `profile_name` is empty when no profile applies."""

    profile_name: str
    locked_strategy: str
    strategy: str
    config: Mapping[str, float]
    requests_per_second: int
    auto: bool
    """True when the profile was chosen by hints, which the client is told."""


def is_auto(header: str) -> bool:
    """Whether resolving the header needs the request's token counts, hence its body."""
    return header.strip().lower() == AUTO


def resolve(config: ModelConfig, header: str, prompt_tokens: float, max_tokens: int | None) -> Resolved:
    """The profile for a request whose `config-profile` header is `header` (empty when there is none)."""
    auto = is_auto(header)
    if auto:
        matching = (profile for profile in config.automatic if profile.hints.match(prompt_tokens, max_tokens))
        profile = next(matching, config.default)
    else:
        profile = config.profiles.get(header.strip(), config.default)
    profile = profile or _NO_PROFILE
    return Resolved(
        profile_name=profile.name,
        locked_strategy=config.locked_strategy,
        strategy=profile.strategy,
        config=profile.config,
        requests_per_second=profile.requests_per_second,
        auto=auto,
    )


def parse_profiles(source: str | Mapping[str, Any]) -> ModelConfig:
    """The configuration in an annotation's text, or in a mapping decoded before; raises ProfileError."""
    root = _mapping("config", decoded(source) if isinstance(source, str) else source)
    profiles = {name: _profile(name, value) for name, value in _mapping("profiles", root.get("profiles")).items()}
    hinted = [profile for profile in profiles.values() if profile.hints != Hints()]
    return ModelConfig(
        locked_strategy=_text("lockedRoutingStrategy", root.get("lockedRoutingStrategy")),
        default=_default(_text("defaultProfile", root.get("defaultProfile")), profiles),
        profiles=MappingProxyType(profiles),
        automatic=tuple(sorted(hinted, key=lambda profile: (profile.hints.order, profile.name))),
    )


class ProfileCache:
    """Parses each text once; the pods of a model carry the same one, and discovery sees them often."""

    def __init__(self, max_texts: int = 256, check: Callable[[ModelConfig], None] = lambda config: None) -> None:
        """`check` may find more that is wrong, and raise ProfileError."""
        self._parsed = lru_cache(maxsize=max_texts)(partial(_parse_or_error, check))

    def get(self, text: str) -> ModelConfig:
        """As `parse_profiles`."""
        parsed = self._parsed(text)
        if isinstance(parsed, ProfileError):
            # Without this, each raise would make the kept error's traceback longer.
            raise parsed.with_traceback(None)
        return parsed


def _parse_or_error(check: Callable[[ModelConfig], None], text: str) -> ModelConfig | ProfileError:
    try:
        config = parse_profiles(text)
        check(config)
    except ProfileError as error:
        return error
    return config


def decoded(text: str) -> object:
    """What an annotation's text says; None for a blank one; raises ProfileError, also for a key that stands twice."""
    if not text.strip():
        return None
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except ProfileError:
        raise
    except (ValueError, RecursionError) as error:
        raise ProfileError("config", text, f"JSON ({error})") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ProfileError("a key", twice, "each key once")
    return found


def _default(name: str, profiles: Mapping[str, Profile]) -> Profile | None:
    if name and name not in profiles:
        raise ProfileError("defaultProfile", name, f"a name of profiles: {_shown.repr(sorted(profiles))}")
    return profiles.get(name or DEFAULT_PROFILE)


def _profile(name: str, value: object) -> Profile:
    if not (name.isascii() and name.isprintable() and name == name.strip() and name):
        raise ProfileError("a name in profiles", name, "printable ASCII, as a header carries it")
    where = f"profiles.{_shown.repr(name)}"
    fields = _mapping(where, value)
    config = _mapping(f"{where}.routingConfig", fields.get("routingConfig"))
    wrong = wrong_option(config)
    if wrong is not None:
        raise ProfileError(f"{where}.routingConfig.{wrong}", config[wrong], "a number of at least 0")
    hints = [
        _whole(f"{where}.routingConfig.{key}", config.get(key))
        for key in ("promptTokensGte", "promptTokensLt", "maxTokensGte", "maxTokensLt")
    ]
    return Profile(
        name=name,
        strategy=_text(f"{where}.routingStrategy", fields.get("routingStrategy")),
        config=with_defaults(config),
        requests_per_second=_whole(f"{where}.requestsPerSecond", fields.get("requestsPerSecond")) or 0,
        hints=Hints(*hints),
    )


def _mapping(where: str, value: object) -> Mapping[str, Any]:
    if value is None:
        return _EMPTY
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ProfileError(where, value, "a mapping with text keys")
    return value


def _text(where: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ProfileError(where, value, "a text")
    return value.strip()


def _whole(where: str, value: object) -> int | None:
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise ProfileError(where, value, "a whole number from 0")
    return value


def _within(value: float | None, at_least: int | None, below: int | None) -> bool:
    if at_least is None and below is None:
        return True
    return value is not None and (at_least or 0) <= value < _or_endless(below)


def _or_endless(bound: int | None) -> float:
    return math.inf if bound is None else bound
