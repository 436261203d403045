from __future__ import annotations

import pytest

from ratelimit import CorruptUserRecord, InvalidUserName, LimitDefaults, Limits, UserRecord, check_user_name
from ratelimit.users.users import decode_record, encode_record
from ratelimit.windows.limits import effective_limits


@pytest.mark.parametrize("name", ["a", "x" * 256, "a b", "a:b/c", "{tag}", "Zoë", "用户", "🦙" * 256, "..", "'\"\\"])
def test_almost_anything_is_a_name(name):
    check_user_name(name)


@pytest.mark.parametrize("name", ["", "x" * 257, "a\nb", "a\x00", "\x7f", "a\x85", "\ud800"])
def test_what_is_no_name(name):
    with pytest.raises(InvalidUserName):
        check_user_name(name)


def test_a_record_is_stored_as_aibrix_stores_it():
    assert encode_record(UserRecord("lgy", rpm=5, tpm=7)) == b'{"name":"lgy","rpm":5,"tpm":7}'


def test_our_own_fields_are_stored_when_they_say_something():
    record = UserRecord("a", max_parallel=3, models=("m",), disabled=True, overrides={"m": (1, 2)})
    raw = encode_record(record)
    assert raw == (
        b'{"name":"a","rpm":0,"tpm":0,"max_parallel":3,"models":["m"],"disabled":true,"overrides":{"m":[1,2]}}'
    )
    assert decode_record(raw, "key") == record


def test_unknown_fields_are_passed_over_and_missing_limits_are_zero():
    record = decode_record(b'{"name": "lgy", "rpm": 5, "team": {"id": 1}}', "key")
    assert record == UserRecord("lgy", rpm=5, tpm=0)
    assert b"team" not in encode_record(record)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"lgy"',
        b'{"rpm":1}',
        b'{"name":"a","rpm":-1}',
        b'{"name":"a","rpm":"1"}',
        b'{"name":"\xff"}',
        b'{"name":"a","max_parallel":-1}',
        b'{"name":"a","models":"m"}',
        b'{"name":"a","models":[1]}',
        b'{"name":"a","disabled":1}',
        b'{"name":"a","overrides":{"m":[1]}}',
        b'{"name":"a","overrides":[]}',
    ],
)
def test_a_corrupt_record_names_its_key(raw):
    with pytest.raises(CorruptUserRecord, match="aibrix-users/lgy") as caught:
        decode_record(raw, "aibrix-users/lgy")
    assert caught.value.key == "aibrix-users/lgy"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (UserRecord("a"), Limits(100, 100_000)),
        (UserRecord("a", rpm=5), Limits(5, 5000)),
        (UserRecord("a", tpm=7), Limits(100, 7)),
        (UserRecord("a", rpm=5, tpm=7, max_parallel=2), Limits(5, 7, 2)),
    ],
)
def test_zero_means_the_default(record, expected):
    assert effective_limits(record, LimitDefaults()) == expected


def test_defaults_are_settable():
    assert effective_limits(UserRecord("a"), LimitDefaults(3, 10)) == Limits(3, 30)
