"""What engines say of their models, read with suspicion, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.pods.engines.known_models import AdapterInfo, EngineReport, KnownModels, ModelCard
from gateway_plugin.pods.engines.model_lists import MAX_CARDS, BadModelList, read_model_list, read_version
from routing.pods.pod_table import PodTable
from routing.spec import AdapterSpec, ClusterState, PodSpec

BASE = {"id": "m", "object": "model", "created": 1, "owned_by": "vllm", "root": "/models/m", "parent": None}
ATOMS = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
JSON = st.recursive(
    ATOMS, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=3), one, max_size=3)
)


def page(*entries: Any) -> bytes:
    return json.dumps({"object": "list", "data": entries}).encode()


def test_a_list_of_vllm():
    adapter = {"id": "sql", "root": "/lora/sql", "parent": "m", "max_model_len": None}
    cards = read_model_list(page(BASE | {"max_model_len": 4096}, adapter))
    assert cards == (ModelCard("m", "/models/m", "", 4096), ModelCard("sql", "/lora/sql", "m"))


@pytest.mark.parametrize(
    "entry",
    [
        None,
        7,
        "m",
        {},
        {"id": 5},
        {"id": ""},
        {"id": " m"},
        {"id": "a\nb"},
        {"id": "x" * 513},
        {"id": None, "root": "m"},
    ],
)
def test_entries_that_are_no_models_are_left_out(entry: Any):
    assert read_model_list(page(entry, BASE)) == (ModelCard("m", "/models/m"),)


@pytest.mark.parametrize("wrong", [["a"], {"a": 1}, 5, "x\x00", "y" * 2000, True])
def test_wrong_details_are_left_out(wrong: Any):
    entry = {"id": "m", "root": wrong, "parent": wrong, "max_model_len": -1}
    assert read_model_list(page(entry)) == (ModelCard("m"),)


@pytest.mark.parametrize(
    "text", [b"", b"<html>", b"[]", b"{}", b'{"data": {}}', b'{"data": 1}', b"\xff", b'{"data": [']
)
def test_what_is_no_list_is_an_error(text: bytes):
    with pytest.raises(BadModelList):
        read_model_list(text)


@given(st.lists(JSON, max_size=5))
def test_any_nonsense_leaves_the_others_alone(entries: list[Any]):
    assert ModelCard("m", "/models/m") in read_model_list(page(*entries, BASE))


def test_a_list_is_bounded_and_names_a_model_once():
    assert len(read_model_list(page(*({"id": f"m{n}"} for n in range(5000))))) == MAX_CARDS
    assert len(read_model_list(page(BASE, BASE))) == 1


@pytest.mark.parametrize(("text", "version"), [(b'{"version": "0.11.0"}', "0.11.0"), (b"{}", ""), (b"nope", "")])
def test_versions(text: bytes, version: str):
    assert read_version(text) == version


class Table:
    """Discovery sees two pods of m, and a model of another pod."""

    def __init__(self) -> None:
        self.pods = PodTable(lambda: 0.0)
        self.known = KnownModels(self.pods.apply)
        self.one = PodSpec("p1", "10.0.0.1:8000", ("m",), uid="1")
        two, other = PodSpec("p2", "10.0.0.2:8000", ("m",)), PodSpec("p3", "10.0.0.3:8000", ("other",))
        adapters = {"declared": AdapterSpec("m", "s3://declared")}
        self.state = ClusterState((self.one, two, other), frozenset({"declared"}), {}, adapters)
        self.known.discovered(self.state)

    def reports(self, *cards: ModelCard) -> None:
        self.known.reported(self.one.address, "1", EngineReport(cards, "1"))
        self.known.flush()

    def served_by(self, model: str) -> list[str]:
        return [self.pods.spec(int(row)).name for row in self.pods.view(model).rows]


def test_an_adapter_is_routed_to_the_pod_that_lists_it():
    table = Table()
    table.reports(ModelCard("m"), ModelCard("sql", parent="m"))
    assert table.served_by("sql") == ["p1"]
    assert table.served_by("m") == ["p1", "p2"]
    assert table.known.adapters["sql"] == AdapterInfo("m", "")
    assert table.known.undeclared == {"sql": "m"}
    table.known.discovered(table.state)
    assert table.served_by("sql") == ["p1"], "a new state of discovery loses nothing"


def test_a_declared_adapter_may_be_loaded_on_more_pods():
    table = Table()
    table.reports(ModelCard("m"), ModelCard("declared", root="/x", parent="m"))
    assert table.served_by("declared") == ["p1"]
    assert table.known.adapters["declared"] == AdapterInfo("m", "s3://declared")
    assert "declared" not in table.known.undeclared, "discovery has made a route"


def test_an_engine_may_call_its_model_otherwise():
    table = Table()
    table.reports(ModelCard("meta/M"), ModelCard("sql", parent="meta/M"))
    assert table.served_by("sql") == ["p1"]
    assert table.known.adapters["sql"].parent == "m"
    assert not table.pods.knows("meta/M"), "base models are discovery's business"


@pytest.mark.parametrize(
    "card", [ModelCard("other", parent="m"), ModelCard("x", parent="other"), ModelCard("x", parent="nothing")]
)
def test_nonsense_poisons_nothing(card: ModelCard):
    table = Table()
    before = table.pods.models()
    table.reports(ModelCard("m"), card)
    assert table.pods.models() == before
    assert table.served_by("other") == ["p3"]


def test_a_report_of_a_pod_before_counts_no_more():
    table = Table()
    table.reports(ModelCard("m"), ModelCard("sql", parent="m"))
    successor = PodSpec("p1b", "10.0.0.1:8000", ("m",), uid="2")
    table.known.discovered(ClusterState((successor,), frozenset()))
    assert not table.pods.knows("sql")
    assert table.known.report("10.0.0.1:8000") is None


def test_nothing_new_does_not_touch_the_table():
    table = Table()
    table.reports(ModelCard("m"))
    version = table.pods.version
    table.reports(ModelCard("m"))
    assert table.pods.version == version
