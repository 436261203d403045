"""Lists and pages: their shape, filters, mistakes, and what paging promises while models come and go."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.models.catalogue.access import OPERATOR, Viewer
from gateway_plugin.models.catalogue.query import parse_list
from gateway_plugin.models.catalogue.registry import Alias, Canary, ModelRule, Registry
from gateway_plugin.openai.errors import ApiError
from tests.unit.gateway_plugin.models.catalogue.catalogue_rig import Rig, pod


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.serve(
        pod(1, "llama", labels={"team": "a", "tier": "gold"}),
        pod(2, "Qwen", engine="sglang", labels={"team": "b"}, ready=False),
        pod(3, "org/phi"),
    )
    return made


def test_the_plain_list_is_openais(rig: Rig):
    assert msgspec.json.decode(rig.page().body) == {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": 1000, "owned_by": "us"} for name in ("Qwen", "llama", "org/phi")
        ],
        "first_id": "Qwen",
        "last_id": "org/phi",
        "has_more": False,
    }


def test_an_empty_list():
    assert msgspec.json.decode(Rig().page().body) == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("status=ready", ["llama", "org/phi"]),
        ("status=loading,ready", ["Qwen", "llama", "org/phi"]),
        ("status=loading&status=sleeping", ["Qwen"]),
        ("engine=sglang", ["Qwen"]),
        ("owned_by=us&q=LL", ["llama"]),
        ("owned_by=them", []),
        ("label=team=a", ["llama"]),
        ("label=team", ["Qwen", "llama"]),
        ("label=team=a&label=tier=silver", []),
        ("label=team%3Da&label=tier%3Dgold", ["llama"]),
        ("q=%2F", ["org/phi"]),
        ("base=llama", []),
        ("after=Qwen&limit=1", ["llama"]),
        ("after=gone", ["llama", "org/phi"]),
        ("whatever=1", ["Qwen", "llama", "org/phi"]),
    ],
)
def test_filters(rig: Rig, query: str, ids: list[str]):
    assert rig.ids(query) == ids


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=10001", "limit"),
        ("limit=%C2%B2", "limit"),
        ("limit=1&limit=2", "limit"),
        ("after=", "after"),
        ("after=%00", "after"),
        ("after=%FF", "after"),
        ("after=" + "x" * 513, "after"),
        ("status=happy", "status"),
        ("status=", "status"),
        ("engine=", "engine"),
        ("label=", "label"),
        ("label==x", "label"),
        ("q=%0A", "q"),
        ("q=" + "x" * 257, "q"),
        ("detail=some", "detail"),
        ("detail=", "detail"),
        ("fields=status,secrets", "fields"),
    ],
)
def test_mistakes_name_the_parameter(query: str, param: str):
    with pytest.raises(ApiError) as caught:
        parse_list(query)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert param in caught.value.message


def test_fields_are_added_to_openais(rig: Rig):
    (model,) = rig.listed("fields=status,ready_pods,requests_in_flight&q=llama")
    assert list(model) == ["id", "object", "created", "owned_by", "status", "ready_pods", "requests_in_flight"]


def test_what_the_operator_arranged_is_for_operators(rig: Rig):
    aliases = {"gpt-4o": Alias("llama", created=1)}
    rules = {"llama": ModelRule(canary=Canary("org/phi", 10.0)), "org/phi": ModelRule(hidden=True)}
    rig.catalogue.registry = Registry(aliases, rules)
    rig.catalogue.republish()
    public = {model["id"]: model for model in rig.listed("detail=full")}
    assert set(public) == {"Qwen", "gpt-4o", "llama"}
    assert (public["gpt-4o"]["alias_of"], public["gpt-4o"]["root"]) == (None, "gpt-4o")
    assert public["llama"]["canary"] is None
    whole = {model["id"]: model for model in rig.listed("detail=full", OPERATOR)}
    assert whole["org/phi"]["hidden"]
    assert (whole["gpt-4o"]["kind"], whole["gpt-4o"]["alias_of"]) == ("alias", "llama")
    assert whole["llama"]["canary"] == {"model": "org/phi", "weight_percent": 10.0}


@pytest.mark.parametrize(
    ("allowed", "ids"),
    [
        ({"llama"}, ["gpt-4o", "llama"]),
        ({"gpt-4o"}, ["gpt-4o"]),
        ({"label:team=b"}, ["Qwen"]),
        ({"label:team=a", "org/phi"}, ["gpt-4o", "llama", "org/phi"]),
        ({"nothing"}, []),
    ],
)
def test_allow_lists(rig: Rig, allowed: set[str], ids: list[str]):
    rig.catalogue.registry = Registry({"gpt-4o": Alias("llama", created=1)})
    rig.catalogue.republish()
    viewer = Viewer(allowed=frozenset(allowed))
    assert rig.ids("", viewer) == ids
    assert (rig.page("", viewer).etag == rig.page().etag) is (len(ids) == 4)


NAMES = st.sets(st.text("abc/-", min_size=1, max_size=4), max_size=12)


@given(st.lists(NAMES, min_size=2, max_size=8), st.integers(1, 5))
def test_paging_under_change_neither_repeats_nor_skips(worlds: list[set[str]], limit: int):
    rig = Rig()
    stayed = set.intersection(*worlds)
    seen: list[str] = []
    after, at = "", 0
    while True:
        served = sorted(worlds[min(at, len(worlds) - 1)])
        rig.now += 1000.0  # longer than models without pods are kept
        rig.serve(*(pod(number, name) for number, name in enumerate(served, 1)))
        rig.now += 1000.0
        rig.look()
        body: dict[str, Any] = msgspec.json.decode(rig.page(f"limit={limit}{after}").body)
        page = [model["id"] for model in body["data"]]
        assert len(page) <= limit
        seen += page
        at += 1
        if not body["has_more"]:
            break
        assert body["last_id"] == page[-1]
        after = f"&after={page[-1].replace('/', '%2F')}"
    assert len(seen) == len(set(seen)), "none twice"
    assert stayed <= set(seen), "none is missing that was there throughout"
