"""What happens to models: each is visible, an event, and a new ETag; figures are none of the three."""

from __future__ import annotations

import pytest

from gateway_plugin.models.catalogue.catalogue import Remembered
from gateway_plugin.models.catalogue.registry import Alias, ModelRule, Registry
from gateway_plugin.pods.engines.known_models import ModelCard
from routing.pods.circuit import Failure
from routing.spec import AdapterSpec
from tests.unit.gateway_plugin.models.catalogue.catalogue_rig import KEEP_SECONDS, Rig, pod, types


def test_a_pod_comes():
    rig = Rig()
    assert types(rig.serve(pod(1))) == ["model.added m"]
    etag = rig.page().etag
    assert types(rig.serve(pod(1), pod(2))) == ["model.pods_changed m"]
    assert rig.listed("detail=full")[0]["ready_pods"] == 2
    assert rig.page().etag != etag


def test_nothing_new_is_no_event_and_the_same_snapshot():
    rig = Rig()
    rig.serve(pod(1))
    snapshot = rig.catalogue.snapshot
    assert rig.serve(pod(1)) == []
    assert rig.catalogue.snapshot is snapshot


def test_a_pod_is_sick():
    rig = Rig()
    rig.serve(pod(1), pod(2))
    etag = rig.page().etag
    rig.table.health.failed(0, Failure.UNAVAILABLE)
    assert types(rig.look()) == ["model.status_changed m"]
    (model,) = rig.listed("detail=full")
    assert (model["status"], model["ready_pods"], model["total_pods"]) == ("degraded", 1, 2)
    assert model["reasons"] == [{"code": "sick", "pods": 1, "detail": "1 of 2 pods fail requests: unavailable"}]
    assert rig.page().etag != etag
    rig.table.health.failed(1, Failure.UNAVAILABLE)
    rig.look()
    assert rig.status() == "unavailable"


def test_sleeping_loading_and_both():
    rig = Rig()
    rig.serve(pod(1), pod(2, ready=False))
    assert rig.status() == "degraded"
    rig.table.health.scraped(0, asleep=True)
    rig.look()
    assert rig.status() == "loading", "one is on its way"
    rig.serve(pod(1))
    assert rig.status() == "sleeping"
    rig.serve(pod(1), pod(3))
    assert rig.status() == "ready", "sleep is no fault"


def test_scaled_to_zero_stays_for_a_while():
    rig = Rig()
    rig.serve(pod(1))
    etag = rig.page().etag
    assert types(rig.serve()) == ["model.status_changed m"]
    assert (rig.ids(), rig.status()) == (["m"], "unavailable")
    assert rig.page().etag != etag
    rig.now += KEEP_SECONDS - 1
    assert rig.look() == []
    assert not rig.catalogue.has_expired()
    rig.now += 1
    assert rig.catalogue.has_expired()
    assert types(rig.look()) == ["model.removed m"]
    assert rig.ids() == []


def test_a_model_that_the_operator_names_stays_without_pods():
    rig = Rig()
    rig.serve(models=frozenset({"m"}))
    rig.now += 10 * KEEP_SECONDS
    rig.look()
    assert (rig.ids(), rig.status()) == (["m"], "unavailable")


def test_first_seen_is_kept_when_a_model_comes_back():
    rig = Rig()
    rig.serve(pod(1))
    rig.now += 50
    rig.serve()
    rig.now += 20
    assert types(rig.serve(pod(2))) == ["model.status_changed m"]
    assert rig.listed()[0]["created"] == 1000


def test_an_adapter_that_an_engine_loads():
    rig = Rig()
    one, two = pod(1), pod(2)
    rig.serve(one, two)
    etag = rig.page().etag
    base, adapter = ModelCard("m", root="org/m"), ModelCard("sql", root="/lora/sql", parent="m")
    rig.reports(one, base)
    assert types(rig.reports(one, base, adapter)) == ["model.added sql", "adapter.loaded sql"]
    (model,) = rig.listed("base=m&detail=full")
    assert (model["id"], model["kind"], model["parent"], model["root"]) == ("sql", "adapter", "m", "/lora/sql")
    assert (model["ready_pods"], model["engine_versions"]) == (1, ["0.11.0"])
    assert rig.table.knows("sql"), "what is listed can be asked for"
    assert rig.page().etag != etag
    assert types(rig.reports(two, base, adapter)) == ["model.pods_changed sql", "adapter.loaded sql"]
    rig.reports(two, base)
    rig.reports(one, base)
    assert rig.status("sql") == "unavailable"
    assert not rig.table.knows("sql")


def test_an_adapter_that_is_declared_is_loading_until_its_engine_lists_it():
    rig = Rig()
    one = pod(1, "m", "sql")
    rig.serve(one, adapters={"sql": AdapterSpec("m", "s3://sql")})
    assert rig.status("sql") == "ready", "engines that tell nothing are believed to have it"
    rig.reports(one, ModelCard("m"))
    assert rig.status("sql") == "loading"
    assert rig.status("m") == "ready"
    changes = rig.reports(one, ModelCard("m"), ModelCard("sql", root="/x", parent="m"))
    assert types(changes) == ["model.status_changed sql", "adapter.loaded sql"]
    assert rig.catalogue.snapshot.by_id["sql"].facts.root == "s3://sql", "what was declared counts"


@pytest.mark.parametrize("settled", [False, True])
def test_what_is_remembered_is_shown_until_it_is_known_better(settled: bool):
    before = Rig()
    one = pod(1)
    before.serve(one, pod(9, "other"))
    before.reports(one, ModelCard("m"), ModelCard("sql", parent="m"))
    kept = dict(before.catalogue.known)

    rig = Rig()
    rig.now = 5000.0
    rig.catalogue.remember(kept)
    rig.catalogue.republish()
    assert rig.ids() == ["m", "other", "sql"]
    assert [model["confirmed"] for model in rig.listed("detail=full")] == [False] * 3
    assert rig.page().etag == before.page().etag, "a restart is no change"
    rig.synced, rig.settled = True, settled
    changes = rig.serve(one)
    assert types(changes) == ["model.status_changed other"] + ["model.status_changed sql"] * settled
    assert rig.status("sql") == ("unavailable" if settled else "ready")
    shown = {model["id"]: model["confirmed"] for model in rig.listed("detail=full")}
    assert shown == {"m": True, "other": True, "sql": settled}
    assert {model["created"] for model in rig.listed()} == {1000}


def test_the_earlier_first_sight_of_two_replicas_counts():
    early, late = Rig(), Rig()
    late.now = 1003.0
    early.serve(pod(1))
    late.serve(pod(1))
    late.catalogue.remember(early.catalogue.known)
    late.catalogue.republish()
    early.catalogue.remember({"m": Remembered(late.catalogue.known["m"].facts)})
    early.catalogue.republish()
    assert early.page() == late.page()


def test_what_had_gone_for_too_long_is_not_remembered():
    before = Rig()
    before.serve(pod(1), pod(2, "n"))
    before.serve(pod(1))
    rig = Rig()
    rig.now = before.now + KEEP_SECONDS
    rig.catalogue.remember(before.catalogue.known)
    assert set(rig.catalogue.known) == {"m"}


def test_who_sees_for_itself_takes_over_no_hearsay():
    rig, other = Rig(), Rig()
    other.now = 990.0
    other.serve(pod(1), pod(2, "n"))
    rig.serve(pod(1))
    rig.catalogue.remember(other.catalogue.known, with_unknown=False)
    rig.catalogue.republish()
    assert rig.ids() == ["m"]
    assert rig.listed()[0]["created"] == 990


def test_figures_change_no_basic_etag_and_are_no_event():
    rig = Rig()
    rig.serve(pod(1))
    basic, full = rig.page(), rig.page("detail=full")
    rig.in_flight["m"] = 3
    rig.table.columns.kv_usage_ratio[0] = 0.5
    rig.table.columns.polled_at_seconds[0] = rig.now
    rig.windows.observe("m", ttft_seconds=0.5, tpot_seconds=0.01, prompt_tokens=100, output_tokens=50)
    rig.now += 2
    assert rig.look() == []
    assert rig.page() == basic
    assert rig.page("detail=full").etag != full.etag
    (model,) = rig.listed("detail=full")
    assert (model["requests_in_flight"], model["kv_cache_usage"]) == (3, 0.5)
    assert model["ttft_seconds"]["p95"] == pytest.approx(0.5, rel=0.08)
    assert model["output_tokens_per_second"] > 0


def test_labels_tags_gpus_and_owners_come_from_pods():
    rig = Rig()
    noise = {"pod-template-hash": "1234"}
    rig.serve(
        pod(1, labels={"team": "a", "gpu": "h100", "tags": "chat,code", **noise}),
        pod(2, engine="sglang", labels={"team": "b", "gpu": "a100", "owned-by": "research"}),
    )
    (model,) = rig.listed("detail=full")
    assert model["labels"]["team"] == ["a", "b"]
    assert "pod-template-hash" not in model["labels"]
    assert (model["gpus"], model["engines"]) == (["a100", "h100"], ["sglang", "vllm"])
    assert (model["tags"], model["owned_by"]) == (["chat", "code"], "research")


def test_aliases_and_hidden_models():
    rig = Rig()
    rig.serve(pod(1), pod(2, "secret"))
    rig.catalogue.registry = Registry({"gpt-4o": Alias("m", created=7)}, {"secret": ModelRule(hidden=True)})
    changes = rig.catalogue.republish()
    assert sorted(types(changes)) == ["model.added gpt-4o", "model.changed secret"]
    rig.catalogue.registry = Registry({"gpt-4o": Alias("m", created=7), "lost": Alias("nothing")})
    rig.catalogue.republish()
    assert rig.ids() == ["gpt-4o", "lost", "m", "secret"]
    assert rig.status("gpt-4o") == "ready"
    assert rig.status("lost") == "unavailable"
    rig.catalogue.registry = Registry()
    assert types(rig.catalogue.republish()) == ["model.removed gpt-4o", "model.removed lost"]
