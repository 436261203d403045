"""gateway.lua against a real JSON parser: the same counts, or none where usage lies before the kept tail."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.unit.gateway_plugin.tools.envoy_config.conftest import Script

TAIL_BYTES = 4096
NAMES = ("prompt_tokens", "completion_tokens", "total_tokens")
FAKE = '"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}'

FRAGMENTS = [FAKE, FAKE + "}", *'\\"{}[],:', "\n", "\r\n", "data: ", "[DONE]", "é", "\u2028"]
FRAGMENTS += ["event: response.completed\n", '"type":"message_start"', "usage", "prompt_tokens", "x" * 40, "y" * 2000]
hostile_text = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=6).map("".join)
counts = st.integers(0, 10**6)
usages = st.fixed_dictionaries(dict.fromkeys(NAMES, counts)) | st.fixed_dictionaries(
    {
        **dict.fromkeys(NAMES, counts),
        "prompt_tokens_details": st.none() | st.fixed_dictionaries({"note": hostile_text, "cached_tokens": counts}),
        "note": hostile_text,
    }
)
keys = st.sampled_from(["usage", "message", "response", "total_tokens", "prompt_tokens", "text"])
junk = st.recursive(
    hostile_text | st.none() | st.integers() | usages,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | hostile_text, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["choices", "object", "message", "error", "\\"]) | hostile_text
members = st.dictionaries(names, junk, max_size=3)
later_members = st.dictionaries(names.map(lambda name: f"z{name}"), junk, max_size=3)
documents = st.tuples(members, st.none() | usages, st.booleans(), later_members)
layouts = st.fixed_dictionaries(
    {"ensure_ascii": st.booleans(), "separators": st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "  : ")])}
)


def document_of(before: dict[str, Any], usage: Any, has_usage: bool, after: dict[str, Any]) -> dict[str, Any]:
    before = {key: value for key, value in before.items() if key != "usage"}
    return {**before, **({"usage": usage} if has_usage else {}), **after}


def counted(usage: dict[str, Any]) -> dict[str, int]:
    found = {name: usage[name] for name in NAMES}
    details = usage.get("prompt_tokens_details")
    return {**found, "cached_tokens": details["cached_tokens"]} if details else found


def split(body: bytes, cuts: list[int]) -> list[bytes]:
    marks = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(marks)]


def check(found: dict[str, float], usage: dict[str, Any] | None, in_reach: bool) -> None:
    expected = counted(usage) if usage else {}
    assert found == expected or (found == {} and not in_reach)


relaxed = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@relaxed
@given(parts=documents, layout=layouts, indent=st.none() | st.integers(0, 2), cuts=st.lists(st.integers(0), max_size=8))
def test_json(
    script: Script, parts: tuple[Any, ...], layout: dict[str, Any], indent: int | None, cuts: list[int]
) -> None:
    document = document_of(*parts)
    body = json.dumps(document, indent=indent, **layout).encode()
    after_usage = json.dumps({"usage": document.get("usage"), **parts[3]}, indent=indent, **layout).encode()
    found = script.usage(*split(body, cuts))
    check(found, document.get("usage"), in_reach=len(after_usage) <= TAIL_BYTES)


@relaxed
@given(
    stream=st.lists(st.tuples(documents, layouts), max_size=5),
    line_end=st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"]),
    prefix=st.sampled_from(["data: ", "data:"]),
    cuts=st.lists(st.integers(0), max_size=12),
)
def test_stream(script: Script, stream: list[Any], line_end: str, prefix: str, cuts: list[int]) -> None:
    built = [(document_of(*parts), layout) for parts, layout in stream]
    lines = [(prefix + json.dumps(document, **layout) + line_end).encode() for document, layout in built]
    body = b"".join(lines) + f"data: [DONE]{line_end}".encode()
    with_usage = [i for i, (document, _) in enumerate(built) if document.get("usage")]
    last = with_usage[-1] if with_usage else len(lines)
    found = script.usage(*split(body, cuts), content_type="text/event-stream")
    usage = built[last][0]["usage"] if with_usage else None
    check(found, usage, in_reach=len(b"".join(lines[last:])) + 20 <= TAIL_BYTES)
