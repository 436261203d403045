"""What users see of autoscaling: sizes, conditions, events; and what is not written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from gateway_plugin.controller.autoscaling import autoscaling_round
from gateway_plugin.controller.autoscaling.followed_autoscaler import followed
from gateway_plugin.controller.route_client import KubeError
from tests.unit.gateway_plugin.controller.autoscaling.autoscaled_cluster import AutoscaledCluster, autoscaler

KPA = "kpa.autoscaling.aibrix.ai/"


async def test_percent_and_fraction_both_mean_half():
    for target in ("50", "0.5"):
        cluster = AutoscaledCluster(autoscaler("HPA", target))
        cluster.usage = 0.8
        assert await cluster.look() == 4
    assert ("TargetReadAsPercent", "gpu_cache_usage_perc '50' is 0.5") not in cluster.told
    cluster = AutoscaledCluster(autoscaler("HPA", "50"))
    await cluster.look()
    assert [reason for reason, _ in cluster.told] == ["TargetReadAsPercent"]


async def test_within_tolerance_nothing_changes_and_a_second_look_writes_nothing():
    cluster = AutoscaledCluster(autoscaler("HPA"))
    cluster.usage = 0.52
    assert await cluster.look() == 2
    assert cluster.writes == ["status"]
    await cluster.look()
    assert cluster.writes == ["status"]


async def test_scraping_that_fails_everywhere_changes_nothing_and_says_so():
    cluster = AutoscaledCluster(autoscaler("HPA"))
    cluster.usage = None
    assert await cluster.look() == 2
    assert cluster.condition("ScalingActive") == ("False", "NoMetrics")


async def test_a_name_that_engines_have_given_up_still_works():
    cluster = AutoscaledCluster(autoscaler("APA"))
    cluster.usage, cluster.series = 0.9, "vllm:kv_cache_usage_perc"
    assert await cluster.look() == 4
    cluster = AutoscaledCluster(autoscaler("APA", metric="kv_cache_usage_perc"))
    cluster.usage, cluster.series = 0.9, "vllm:gpu_cache_usage_perc"
    assert await cluster.look() == 4


@pytest.mark.parametrize(("usage", "size"), [(0.54, 10), (0.56, 12), (0.41, 10), (0.39, 10)])
async def test_the_seeds_spelling_of_apa(usage: float, size: int):
    annotations = {
        "autoscaling.aibrix.ai/up-fluctuation-tolerance": "0.1",
        "autoscaling.aibrix.ai/down-fluctuation-tolerance": "0.2",
        "apa.autoscaling.aibrix.ai/window": "30s",
    }
    cluster = AutoscaledCluster(autoscaler("APA", annotations=annotations, maxReplicas=20), replicas=10)
    cluster.usage = usage
    assert await cluster.look() == size
    if usage == 0.39:  # shrinking waits until a restarted controller has seen its window
        assert [await cluster.look(60) for _ in range(6)][-1] == 8


async def test_kpa_of_four_busy_pods_wants_eight():
    cluster = AutoscaledCluster(autoscaler("KPA"), replicas=4)
    cluster.usage = 0.9
    assert await cluster.look() == 8


async def test_thirty_minutes_of_scale_down_delay():
    cluster = AutoscaledCluster(autoscaler("KPA", annotations={KPA + "scale-down-delay": "30m"}), replicas=4)
    cluster.usage = 0.1
    sizes = [await cluster.look(60) for _ in range(40)]
    assert sizes[29] == 4
    assert sizes[-1] == 2  # half of the pods a step


@pytest.mark.parametrize("strategy", ["HPA", "KPA", "APA"])
async def test_a_restart_in_the_middle_keeps_the_size(strategy: str):
    cluster = AutoscaledCluster(autoscaler(strategy), replicas=6)
    cluster.usage = 0.01
    for _ in range(3):
        cluster.round = cluster.restarted()
        assert await cluster.look() == 6


@pytest.mark.parametrize("strategy", ["HPA", "KPA", "APA"])
async def test_pods_that_start_do_not_make_it_double(strategy: str):
    cluster = AutoscaledCluster(autoscaler(strategy, maxReplicas=100), replicas=2)
    cluster.usage = 0.95
    for _ in range(10):
        await cluster.look()
        cluster.starting = cluster.replicas - 2
    assert cluster.replicas <= 4


async def test_one_silent_pod_never_makes_it_shrink():
    cluster = AutoscaledCluster(autoscaler("HPA"), replicas=2)
    cluster.usage, cluster.silent = 0.45, {"p1"}
    assert [await cluster.look(60) for _ in range(10)][-1] == 2


async def test_bounds_and_schedules_hold_without_any_metric():
    schedule = {"name": "work", "startTime": "08:00", "endTime": "18:00", "minReplicas": 5}
    cluster = AutoscaledCluster(autoscaler(schedules=[schedule]))
    cluster.usage = None
    assert await cluster.look() == 5


async def test_of_two_autoscalers_on_one_target_the_older_wins_and_the_other_says_so():
    old = autoscaler("HPA", name="old", created="2026-11-26T00:00:00Z")
    young = autoscaler("HPA", "0.1", name="young")
    cluster = AutoscaledCluster(young, old)
    await cluster.look()
    assert cluster.condition("AbleToScale", "young") == ("False", "MultiPodAutoscalerConflict")
    assert cluster.condition("AbleToScale", "old") == ("True", "AsExpected")
    assert "scale" not in " ".join(cluster.writes)


async def test_what_cannot_be_read_is_said_with_its_key():
    cluster = AutoscaledCluster(autoscaler(annotations={KPA + "stable-window": "60"}))
    cluster.usage = 0.9
    assert await cluster.look() == 2
    assert cluster.condition("ValidSpec") == ("False", "MetricsConfigError")
    message = cluster.objects["scaler"]["status"]["conditions"][0]["message"]
    assert KPA + "stable-window" in message


async def test_a_target_that_is_gone_is_said_and_stops_no_other():
    lost = autoscaler(name="lost", scaleTargetRef={"kind": "Deployment", "name": "gone"})
    cluster = AutoscaledCluster(lost, autoscaler())
    cluster.usage = 0.9
    assert await cluster.look() == 4
    assert cluster.condition("AbleToScale", "lost") == ("False", "FailedGetScale")


async def test_a_change_that_is_refused_is_said_and_tried_again():
    cluster = AutoscaledCluster(autoscaler())
    cluster.usage, cluster.refuse_resizing = 0.9, True
    await cluster.look()
    assert cluster.condition("AbleToScale") == ("False", "FailedRescale")
    cluster.refuse_resizing = False
    assert await cluster.look() == 4
    past = cluster.objects["scaler"]["status"]["scalingHistory"]
    assert [(one["previousScale"], one["newScale"], one["success"]) for one in past] == [(2, 4, False), (2, 4, True)]


async def test_a_change_by_its_author_is_followed_at_once():
    cluster = AutoscaledCluster(autoscaler("HPA"))
    await cluster.look()
    cluster.objects["scaler"]["spec"]["metricsSources"][0]["targetValue"] = "0.25"
    cluster.objects["scaler"]["metadata"]["generation"] = 2
    assert await cluster.look() == 4


async def test_to_zero_and_back():
    cluster = AutoscaledCluster(
        autoscaler(annotations={"autoscaling.aibrix.ai/scale-to-zero": "true"}, minReplicas=None)
    )
    cluster.usage, cluster.idle = 0.0, 301.0
    assert await cluster.look() == 0
    assert await cluster.look() == 0
    cluster.held, cluster.idle = 50, 0.0
    assert await cluster.look() == 1
    assert cluster.told[-1][0] == "SuccessfulRescale"


async def test_a_fleets_heads_are_asked():
    ref = {"apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet", "name": "llama"}
    cluster = AutoscaledCluster(autoscaler(scaleTargetRef=ref))
    cluster.usage = 0.9
    assert await cluster.look() == 4
    assert cluster.asked_paths[0].startswith("/apis/orchestration.aibrix.ai/v1alpha1/namespaces/default/")


async def test_one_that_nobody_can_bear_keeps_no_other_from_being_looked_at(monkeypatch: pytest.MonkeyPatch):
    monster = autoscaler("HPA", name="a-monster", created="2026-11-27T09:00:00Z")
    cluster = AutoscaledCluster(monster, autoscaler("HPA"))
    read = followed

    def explode(raw: Mapping[str, Any]) -> Any:
        if raw["metadata"]["name"] == "a-monster":
            raise ZeroDivisionError
        return read(raw)

    monkeypatch.setattr(autoscaling_round, "followed", explode)
    cluster.usage = 0.8
    assert await cluster.look() == 4
    assert [await cluster.look() for _ in range(100)]
    assert 3 < cluster.round.failing.total < 9  # of 101 looks


async def test_a_status_that_is_refused_is_one_objects_trouble(monkeypatch: pytest.MonkeyPatch):
    cluster = AutoscaledCluster(autoscaler("XPA", name="a-wrong"), autoscaler("HPA"))
    write = cluster.write_status

    async def refuse(raw: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        if raw["metadata"]["name"] == "a-wrong":
            raise KubeError(404, "it is gone")
        await write(raw, status)

    monkeypatch.setattr(cluster, "write_status", refuse)
    cluster.usage = 0.8
    assert await cluster.look() == 4
