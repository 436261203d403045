from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

from ratelimit import InvalidUserName, Source
from ratelimit.store.redis_keys import charge_key, counter_prefix, keys_of, model_rate_key, record_key, secret_key

names = st.text(st.sampled_from("{}ab:/%é"), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("lgy", "gateway:{aibrix-users/lgy}"),
        ("team/lgy", "gateway:{aibrix-users/team/lgy}"),
        ("a{b", "gateway:{aibrix-users/a{b}"),
        ("a{team}b", "gateway:{team}:aibrix-users/a%7Bteam%7Db"),
    ],
)
def test_the_prefix_is_tagged_with_the_record(name, prefix):
    assert counter_prefix(record_key(name)) == prefix


@given(names)
@example("a}b")
@example("{}")
@example("{}{b}")
@settings(deadline=None)
def test_counters_share_the_slot_of_their_record(name):
    record = record_key(name)
    prefix = counter_prefix(record)
    for suffix in ("", ":tokens", charge_key("", "{x}")):
        assert key_slot(f"{prefix}{suffix}".encode()) == key_slot(record.encode())


@given(names, names)
@example("a{x}", "b{x}")
@example("x", "{aibrix-users/x}")
@settings(deadline=None)
def test_no_two_users_share_a_counter(one, other):
    first, second = counter_prefix(record_key(one)) + ":", counter_prefix(record_key(other)) + ":"
    assert (first == second) is (one == other)
    # Nor can one user's prefix go on as another's with a kind of counter.
    assert one == other or not first.startswith(tuple(second + kind for kind in ("requests", "tokens", "charge:")))


def test_an_invalid_name_has_no_key():
    with pytest.raises(InvalidUserName):
        record_key("a\nb")


def test_models_and_secrets_have_keys_of_their_own():
    assert model_rate_key("meta/a{b}") == "gateway:model:{meta/a%7Bb%7D}:rate"
    assert secret_key("ab12") == "gateway-keys/ab12"


def test_sources_have_a_key_space_that_no_name_reaches():
    source = keys_of(Source("10.0.0.1"))
    assert source.counters == "gateway:{gateway-sources/10.0.0.1}"
    for name in ("10.0.0.1", "gateway-sources/10.0.0.1", "{gateway-sources/10.0.0.1}", "anonymous/10.0.0.1"):
        user = keys_of(name)
        assert user.record != source.record
        assert not user.counters.startswith(f"{source.counters}:charge")
        assert user.counters != source.counters
    for address in ("", "x y", "{a}", "10.0.0.1\n"):
        with pytest.raises(InvalidUserName):
            keys_of(Source(address))
