"""Label selectors: the grammar by table, the meaning against an evaluator that knows no grammar."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing import selector
from routing.selector import MAX_REQUIREMENTS, SelectorError, parse_selector

LABELS = {"gpu": "a100", "empty": "", "in": "out", "app.io/tier": "gold", "cores": "8", "big": "9" * 20}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        (" \t", True),
        ("gpu", True),
        ("zone", False),
        ("!zone", True),
        ("! gpu", False),
        ("gpu=a100", True),
        ("gpu == a100", True),
        ("gpu=A100", False),
        ("gpu!=a100", False),
        ("zone!=a", True),
        ("zone=a", False),
        ("empty=", True),
        ("empty = ,gpu", True),
        ("zone=", False),
        ("gpu in (h100, a100)", True),
        ("gpu in(h100,a100)", True),
        ("gpu notin (h100)", True),
        ("zone notin (a)", True),
        ("zone in (a)", False),
        ("empty in ()", True),
        ("empty in (,a)", True),
        ("empty in (a,)", True),
        ("gpu in (,)", False),
        ("in in (in, out)", True),
        ("in", True),
        ("in=out", True),
        ("notin=in", False),
        ("app.io/tier=gold,gpu,!zone", True),
        ("app.io/tier=gold,gpu=h100", False),
        ("cores > 7", True),
        ("cores>8", False),
        ("cores<9", True),
        ("cores<8", False),
        ("gpu>1", False),
        ("zone<1", False),
        ("big>1", False),
    ],
)
def test_good_selectors(text, matches):
    assert parse_selector(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "at", "found"),
    [
        (",", 1, "','"),
        ("gpu,", 5, "the end"),
        ("gpu,,zone", 5, "','"),
        ("=a", 1, "'='"),
        ("gpu a100", 5, "'a100'"),
        ("gpu=a b", 7, "'b'"),
        ("gpu===a", 6, "'='"),
        ("gpu=!a", 5, "'!'"),
        ("!!gpu", 2, "'!'"),
        ("!gpu=a", 5, "'='"),
        ("gpu !", 5, "'!'"),
        ("gpu in", 7, "the end"),
        ("gpu in a", 8, "'a'"),
        ("gpu in (a", 10, "the end"),
        ("gpu in (a b)", 11, "'b'"),
        ("gpu in (a))", 11, "')'"),
        ("gpu in ((a)", 9, "'('"),
        ("gpu='a100'", 5, '''"'a100'"'''),
        ('gpu="a100"', 5, "'\"a100\"'"),
        ("gpu=-a", 5, "'-a'"),
        ("gpu=a/b", 5, "'a/b'"),
        ("gpu=ä", 5, "'ä'"),
        ("gpu=a\x00", 5, r"'a\x00'"),
        ("gpu\u00a0", 1, r"'gpu\xa0'"),
        ("-gpu", 1, "'-gpu'"),
        ("/gpu", 1, "'/gpu'"),
        ("a/", 1, "'a/'"),
        ("a/b/c", 1, "'a/b/c'"),
        ("App.io/tier", 1, "'App.io/tier'"),
        ("a..b/c", 1, "'a..b/c'"),
        ("cores>", 7, "the end"),
        ("cores>a", 7, "'a'"),
        ("cores>1_0", 7, "'1_0'"),
        ("cores<9223372036854775808", 7, "'9223372036854775808'"),
        ("cores>(1)", 7, "'('"),
    ],
)
def test_bad_selectors_say_where_and_what(text, at, found):
    with pytest.raises(SelectorError) as raised:
        parse_selector(text)
    assert str(raised.value).startswith(f"at character {at}: found {found}, expected ")


def test_lengths_are_those_of_kubernetes():
    longest = "a" * 63
    assert parse_selector(f"{'a' * 253}/{longest}={longest}").keys == {f"{'a' * 253}/{longest}"}
    for text in (f"{longest}a", f"k={longest}a", f"{'a' * 254}/k"):
        with pytest.raises(SelectorError):
            parse_selector(text)


def test_what_clients_write_is_bounded():
    parse_selector(",".join(["key"] * MAX_REQUIREMENTS))
    with pytest.raises(SelectorError, match="at most 32 requirements"):
        parse_selector(",".join(["key"] * (MAX_REQUIREMENTS + 1)))
    with pytest.raises(SelectorError, match="1025 characters, more than 1024"):
        parse_selector("k=" + " " * 1023)
    with pytest.raises(SelectorError) as raised:
        parse_selector("k=" + "?" * 1000)
    assert str(raised.value).count("?") <= 100
    assert selector.parse_selector.cache_info().maxsize == 256


def test_keys_are_all_labels_asked_about():
    assert parse_selector("a,!b,c=1,d in (x),a!=2").keys == {"a", "b", "c", "d"}


def test_a_selector_is_parsed_once_and_cannot_change():
    parsed = parse_selector("gpu=a100")
    assert parse_selector("gpu=a100") is parsed
    with pytest.raises(AttributeError):
        parsed.requirements = ()  # type: ignore[misc]


KEYS = st.sampled_from(["gpu", "zone", "in", "notin", "x.io/a"])
VALUES = st.sampled_from(["", "a", "b", "in", "7"])
BLANKS = st.sampled_from(["", " ", "\t "])


@st.composite
def requirements(draw):
    """The text of a requirement, with what it means as a function of the labels."""
    key, values, blank = draw(KEYS), draw(st.lists(VALUES, min_size=1, max_size=3)), draw(BLANKS)
    listed = f"({blank}{f'{blank},'.join(values)})"
    return draw(
        st.sampled_from(
            [
                (f"{blank}{key}{blank}", lambda labels: key in labels),
                (f"!{blank}{key}", lambda labels: key not in labels),
                (f"{key}{blank}={blank}{values[0]}", lambda labels: key in labels and labels[key] == values[0]),
                (f"{key}=={values[0]}{blank}", lambda labels: key in labels and labels[key] == values[0]),
                (f"{key}{blank}!={values[0]}", lambda labels: key not in labels or labels[key] != values[0]),
                (f"{key} in {listed}", lambda labels: key in labels and labels[key] in values),
                (f"{key}\tnotin{blank}{listed}", lambda labels: key not in labels or labels[key] not in values),
            ]
        )
    )


@given(st.lists(requirements(), max_size=5), st.dictionaries(KEYS, VALUES))
def test_agrees_with_a_naive_evaluator(parts, labels):
    text = ",".join(text for text, _ in parts)
    assert parse_selector(text).matches(labels) is all(holds(labels) for _, holds in parts)


@given(st.text(alphabet="ab/.-in=!<>(), \t", max_size=12))
def test_any_text_gives_a_selector_or_a_selector_error(text):
    with suppress(SelectorError):
        parse_selector(text).matches(LABELS)
