"""What the command is given, and what of it may be written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.tools.bench.load_plan import Arrivals, LoadPlan, PlanError, new_salt, read_strategies
from gateway_plugin.tools.bench.redaction import redacted_command
from gateway_plugin.tools.bench.target import CHAT, COMPLETIONS, BenchTarget, TargetError, read_headers, split_url

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a:1", ("http://a:1", CHAT)),
        ("a.example", ("http://a.example", CHAT)),
        ("https://a/", ("https://a", CHAT)),
        ("http://a/v1", ("http://a", CHAT)),
        ("http://a/v1/", ("http://a", CHAT)),
        ("http://a/some/v1/completions", ("http://a/some", COMPLETIONS)),
        ("http://a/v1/chat/completions", ("http://a", CHAT)),
        ("http://[::1]:80", ("http://[::1]:80", CHAT)),
    ],
)
def test_urls(url: str, expected: tuple[str, str]) -> None:
    assert split_url(url) == expected


@pytest.mark.parametrize("url", ["", "ftp://a", "http://", "http://a:b", "http://k:p@a", "http://a?b=c", "http://a:0"])
def test_urls_that_cannot_be_asked(url: str) -> None:
    with pytest.raises(TargetError, match="expected something like http://gateway:10080"):
        split_url(url)


@given(st.text())
def test_any_text_is_a_url_or_an_error(text: str) -> None:
    try:
        base, path = split_url(text)
    except TargetError:
        return
    assert base.startswith(("http://", "https://"))
    assert path in {CHAT, COMPLETIONS}


def test_headers() -> None:
    assert read_headers(["A=b", "x-c: d=e", "e=f:g", "empty="]) == {"a": "b", "x-c": "d=e", "e": "f:g", "empty": ""}


@pytest.mark.parametrize("pair", ["", "a", "=b", "a b=c", "a=b\nc=d", "ä=b"])
def test_what_is_no_header(pair: str) -> None:
    with pytest.raises(TargetError, match="--header"):
        read_headers([pair])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ("",)),
        ("random", ("random",)),
        ("random, least-request", ("random", "least-request")),
        ("random,a:2,b:1,least-request", ("random", "a:2,b:1", "least-request")),
    ],
)
def test_strategies(text: str, names: tuple[str, ...]) -> None:
    assert read_strategies(text) == names


def test_the_same_strategy_twice() -> None:
    with pytest.raises(PlanError, match="every strategy once; --repeats"):
        read_strategies("random,random")


@pytest.mark.parametrize(
    ("options", "bounds"),
    [
        ({}, (None, 60.0)),
        ({"requests": 5}, (5, None)),
        ({"seconds": 5.0}, (None, 5.0)),
        ({"trace": Path("t")}, (None, None)),
        ({"concurrency": 3}, (None, 60.0)),
    ],
)
def test_ends(options: dict[str, Any], bounds: tuple[int | None, float | None]) -> None:
    found = Arrivals(**options).bounds
    assert (found.requests, found.seconds) == bounds


def test_the_load_is_written_down() -> None:
    target = BenchTarget("http://a", CHAT, "m", headers={"authorization": SECRET})
    plan = LoadPlan(target=target, arrivals=Arrivals(trace=Path("/some/t.jsonl"), requests=5, users=2), salt=new_salt())
    assert plan.about() == {
        "url": "http://a/v1/chat/completions",
        "model": "m",
        "stream": True,
        "timeout_seconds": 120.0,
        "seed": 0,
        "trace": "t.jsonl",
        "speedup": 1.0,
        "requests": 5,
        "users": 2,
        "slo_ttft_seconds": 2.0,
        "slo_tpot_seconds": 0.1,
    }
    assert Arrivals().about() == {
        "rate_per_second": 5.0,
        "prompt_tokens": "512",
        "output_tokens": "128",
        "seconds": 60.0,
    }


def test_the_command_without_its_secrets() -> None:
    argv = ["/usr/bin/gateway-plugin", "bench", "http://a", "--api-key", SECRET, "-H", f"x-a: {SECRET}", "--rate", "5"]
    assert redacted_command(argv) == "gateway-plugin bench http://a --api-key '***' -H 'x-a=***' --rate 5"


SECRETS = st.sampled_from(
    [
        [f"--api-key={SECRET}"],
        ["--api-key", SECRET],
        ["--api-key", "--header", "--rate", "1"],
        ["--header", f"a={SECRET}"],
        [f"--header=a={SECRET}"],
        [f"--header=a:{SECRET}"],
        ["-H", SECRET],
        [f"-Ha={SECRET}"],
        ["-H", "--api-key", "--out", "b"],
        ["--rate", "5"],
        ["--stream"],
    ]
)


@given(st.lists(SECRETS))
def test_no_secret_is_written_down(options: list[list[str]]) -> None:
    command = redacted_command(["gateway-plugin", "bench", *(word for words in options for word in words)])
    assert SECRET not in command
    assert command.count("--rate") >= sum(words == ["--rate", "5"] for words in options)
