"""Annotations of every generation, and the seed's own spelling."""

from __future__ import annotations

import pytest

from orchestration.scaling.annotations import apa_options, asked, kpa_options
from orchestration.scaling.go_durations import seconds_of

SEED_KPA = {
    "kpa.autoscaling.aibrix.ai/target-burst-capacity": "2.0",
    "kpa.autoscaling.aibrix.ai/activation-scale": "1",
    "kpa.autoscaling.aibrix.ai/panic-threshold": "2.0",
    "kpa.autoscaling.aibrix.ai/stable-window": "60s",
    "kpa.autoscaling.aibrix.ai/scale-down-delay": "30m",
}


def test_the_seeds_kpa():
    options = kpa_options(asked(SEED_KPA, {}))
    assert (options.spare, options.panic_threshold, options.scale_down_delay_seconds) == (2.0, 2.0, 1800)


@pytest.mark.parametrize("prefix", ["autoscaling.aibrix.ai/", "apa.autoscaling.aibrix.ai/"])
def test_the_seeds_tolerances(prefix: str):
    given = {prefix + "up-fluctuation-tolerance": "0.3", prefix + "down-fluctuation-tolerance": "0.4"}
    options = apa_options(asked(given, {}))
    assert (options.up_tolerance, options.down_tolerance) == (0.3, 0.4)


def test_the_newer_spelling():
    given = {"autoscaling.aibrix.ai/scale-up-tolerance": "0.3", "autoscaling.aibrix.ai/scale-down-tolerance": "0.4"}
    assert apa_options(asked(given, {})).up_tolerance == 0.3


def test_the_spec_wins_over_annotations():
    options = kpa_options(asked({"kpa.autoscaling.aibrix.ai/stable-window": "90s"}, {}), 180, 60)
    assert (options.stable_window_seconds, options.panic_window_seconds) == (180, 60)


def test_labels_count_where_no_annotation_does():
    wanted = asked({}, {"autoscaling.aibrix.ai/max-scale-up-rate": "3"})
    assert apa_options(wanted).max_up_rate == 3
    assert wanted.from_labels == ("autoscaling.aibrix.ai/max-scale-up-rate",)


def test_percent_of_knative():
    assert kpa_options(asked({"autoscaling.aibrix.ai/panic-threshold": "200"}, {})).panic_threshold == 2


def test_a_slip_of_the_pen_is_told():
    assert asked({"kpa.autoscaling.aibrix.ai/stable-windw": "1m", "other.io/x": "1"}, {}).unknown == (
        "kpa.autoscaling.aibrix.ai/stable-windw",
    )


@pytest.mark.parametrize(
    ("key", "text", "part"),
    [
        ("kpa.autoscaling.aibrix.ai/stable-window", "60", "no duration"),
        ("kpa.autoscaling.aibrix.ai/stable-window", "2h", "from 1 s to 3600 s"),
        ("autoscaling.aibrix.ai/max-scale-up-rate", "0.5", "from 1 to 1000"),
        ("autoscaling.aibrix.ai/max-scale-up-rate", "nan", "from 1 to 1000"),
        ("autoscaling.aibrix.ai/scale-to-zero", "yes", "true, false"),
        ("autoscaling.aibrix.ai/target-unit", "half", "ratio, percent, raw"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_key(key: str, text: str, part: str):
    with pytest.raises(ValueError, match=key) as refused:
        asked({key: text}, {})
    assert part in str(refused.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5), ("0", 0), ("100us", 1e-4)]
)
def test_durations_of_go(text: str, seconds: float):
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "30", "m", "-1s", "1s1", "1 s", "s1", "1d", "1s" * 40])
def test_what_is_no_duration(text: str):
    with pytest.raises(ValueError, match="duration"):
        seconds_of(text)
