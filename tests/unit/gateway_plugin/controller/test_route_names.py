"""Names of routes and Services."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.controller.object_names import grant_name, route_name, service_name, workload_service_name

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


@pytest.mark.parametrize(
    ("model", "route"),
    [
        ("llama-8b", "llama-8b-router"),
        ("qwen2.5-7b", "qwen2.5-7b-router"),
        ("7b", "7b-router"),
        ("Qwen/Qwen2.5-7B", "qwen-qwen2-5-7b-401a4b448e74-router"),
        ("my_model", "my-model-535d4cfe74af-router"),
        ("模型", "model-c98e118e0a43-router"),
    ],
)
def test_routes_are_named_as_in_aibrix(model: str, route: str):
    assert route_name(model) == route


@pytest.mark.parametrize(
    ("model", "service"),
    [("llama-8b", "llama-8b"), ("qwen2.5", "qwen2-5-"), ("7b", "m-7b-"), ("Llama", "llama-")],
)
def test_a_service_has_the_models_name_where_it_can(model: str, service: str):
    assert service_name(model).startswith(service)
    assert (service_name(model) == service) is (not service.endswith("-"))


@given(st.text(max_size=400))
def test_every_model_has_valid_names(model: str):
    assert _SUBDOMAIN.fullmatch(route_name(model))
    assert len(route_name(model)) <= 253
    for name in (service_name(model), workload_service_name(model, "Deployment a/b")):
        assert _DNS_LABEL.fullmatch(name)
        assert len(name) <= 63


@given(st.lists(st.text("aA-_./ 1", max_size=70), unique=True, max_size=30))
def test_no_two_models_share_a_name(models: list[str]):
    assert len({route_name(model) for model in models}) == len(models)
    assert len({service_name(model) for model in models}) == len(models)


def test_a_grant_is_found_by_aibrix_name():
    assert grant_name("aibrix-system", "default") == "aibrix-system-reserved-referencegrant-in-default"
