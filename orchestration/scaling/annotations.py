"""What a PodAutoscaler's annotations ask for, in every spelling that AIBrix's versions, samples and users have had.

The first spelling of a row that is there wins. Labels of the same keys count where no annotation does: AIBrix's own
samples have them. A value that cannot be read is an error with the key in it, and a key of AIBrix's that nobody reads
is told, since it is likely a slip of the pen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.scaling.apa import ApaOptions
from orchestration.scaling.gateway_policy import TARGET_SECONDS, GatewayOptions
from orchestration.scaling.go_durations import seconds_of
from orchestration.scaling.kpa import KpaOptions
from orchestration.scaling.target_value import UNITS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ANY = "autoscaling.aibrix.ai/"
_KPA = "kpa." + _ANY
_APA = "apa." + _ANY
_PERCENT_FROM = 10.0
"""Knative writes the panic threshold in percent, AIBrix as a factor; nobody means a factor above ten."""

SPELLINGS: dict[str, tuple[str, ...]] = {
    "max_up_rate": (_ANY + "max-scale-up-rate",),
    "max_down_rate": (_ANY + "max-scale-down-rate",),
    "spare": (_KPA + "target-burst-capacity",),
    "activation_scale": (_KPA + "activation-scale",),
    "panic_threshold": (_KPA + "panic-threshold", _ANY + "panic-threshold"),
    "stable_window": (_KPA + "stable-window",),
    "panic_window": (_KPA + "panic-window",),
    "down_delay": (_KPA + "scale-down-delay", _ANY + "scale-down-cooldown-window"),
    "up_delay": (_ANY + "scale-up-cooldown-window",),
    "up_tolerance": (
        _APA + "up-fluctuation-tolerance",
        _ANY + "scale-up-tolerance",
        _ANY + "up-fluctuation-tolerance",
    ),
    "down_tolerance": (
        _APA + "down-fluctuation-tolerance",
        _ANY + "scale-down-tolerance",
        _ANY + "down-fluctuation-tolerance",
    ),
    "window": (_APA + "window",),
    "scale_to_zero": (_ANY + "scale-to-zero",),
    "target_unit": (_ANY + "target-unit",),
    "policy": (_ANY + "policy",),
    "first_token_target": (_ANY + "first-token-target",),
    "utilisation": (_ANY + "target-utilization",),
    "ready_for": (_ANY + "ready-for",),
}
_ELSEWHERE = (_ANY + "storm-service-mode",)
_KNOWN = {key for keys in SPELLINGS.values() for key in keys} | set(_ELSEWHERE)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for; None where it was not."""

    values: Mapping[str, str]
    unknown: tuple[str, ...]
    from_labels: tuple[str, ...]


def asked(annotations: Mapping[str, str], labels: Mapping[str, str]) -> Asked:
    found: dict[str, str] = {}
    from_labels: list[str] = []
    for meaning, keys in SPELLINGS.items():
        for source in (annotations, labels):
            key = next((key for key in keys if key in source), None)
            if key is not None:
                found[meaning] = _checked(meaning, key, source[key])
                if source is labels:
                    from_labels.append(key)
                break
    ours = [key for key in (*annotations, *labels) if key.partition("/")[0].endswith("autoscaling.aibrix.ai")]
    return Asked(found, tuple(sorted(set(ours) - _KNOWN)), tuple(from_labels))


def kpa_options(wanted: Asked, stable_seconds: float | None = None, panic_seconds: float | None = None) -> KpaOptions:
    """The windows of `spec` win over the annotations."""
    default, read = KpaOptions(), _Reading(wanted)
    threshold = read.number("panic_threshold", default.panic_threshold)
    return KpaOptions(
        stable_window_seconds=stable_seconds or read.seconds("stable_window", default.stable_window_seconds),
        panic_window_seconds=panic_seconds or read.seconds("panic_window", default.panic_window_seconds),
        panic_threshold=threshold / 100 if threshold > _PERCENT_FROM else threshold,
        max_up_rate=read.number("max_up_rate", default.max_up_rate),
        max_down_rate=read.number("max_down_rate", default.max_down_rate),
        activation_scale=int(read.number("activation_scale", default.activation_scale)),
        scale_down_delay_seconds=read.seconds("down_delay", default.scale_down_delay_seconds),
        spare=read.number("spare", default.spare),
    )


def apa_options(wanted: Asked) -> ApaOptions:
    default, read = ApaOptions(), _Reading(wanted)
    return ApaOptions(
        up_tolerance=read.number("up_tolerance", default.up_tolerance),
        down_tolerance=read.number("down_tolerance", default.down_tolerance),
        max_up_rate=read.number("max_up_rate", default.max_up_rate),
        max_down_rate=read.number("max_down_rate", default.max_down_rate),
        window_seconds=read.seconds("window", default.window_seconds),
    )


def gateway_options(wanted: Asked) -> GatewayOptions:
    default, read = GatewayOptions(), _Reading(wanted)
    return GatewayOptions(
        utilisation=read.number("utilisation", default.utilisation),
        ready_for=read.number("ready_for", default.ready_for),
    )


def first_token_target(wanted: Asked) -> float:
    """Seconds."""
    return _Reading(wanted).seconds("first_token_target", TARGET_SECONDS)


@dataclass(frozen=True, slots=True)
class _Reading:
    wanted: Asked

    def number(self, meaning: str, default: float) -> float:
        text = self.wanted.values.get(meaning)
        return default if text is None else float(text)

    def seconds(self, meaning: str, default: float) -> float:
        text = self.wanted.values.get(meaning)
        return default if text is None else seconds_of(text)


def _checked(meaning: str, key: str, text: str) -> str:
    try:
        _CHECKS[meaning](text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    return text


def _number(lowest: float, highest: float) -> Callable[[str], None]:
    def check(text: str) -> None:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is no number") from None
        if not math.isfinite(value) or not lowest <= value <= highest:
            raise ValueError(f"{text!r} must be from {lowest:g} to {highest:g}")

    return check


def _duration(longest_seconds: float, shortest_seconds: float = 0.0) -> Callable[[str], None]:
    def check(text: str) -> None:
        if not shortest_seconds <= seconds_of(text) <= longest_seconds:
            raise ValueError(f"{text!r} must be from {shortest_seconds:g} s to {longest_seconds:g} s")

    return check


def _one_of(*allowed: str) -> Callable[[str], None]:
    def check(text: str) -> None:
        if text not in allowed:
            raise ValueError(f"{text!r} is none of {', '.join(allowed)}")

    return check


_CHECKS: dict[str, Callable[[str], None]] = {
    "max_up_rate": _number(1.0, 1000.0),
    "max_down_rate": _number(1.0, 1000.0),
    "spare": _number(0.0, 1e9),
    "activation_scale": _number(1, 10_000),
    "panic_threshold": _number(1.0, 1000.0),
    "stable_window": _duration(3600, 1),
    "panic_window": _duration(3600, 1),
    "down_delay": _duration(3600),
    "up_delay": _duration(3600),
    "up_tolerance": _number(0.0, 10.0),
    "down_tolerance": _number(0.0, 1.0),
    "window": _duration(3600, 1),
    "scale_to_zero": _one_of("true", "false"),
    "target_unit": _one_of(*UNITS),
    "policy": _one_of("gateway"),
    "first_token_target": _duration(600, 0.01),
    "utilisation": _number(0.1, 1.5),
    "ready_for": _number(0.0, 0.999),
}
