"""Who asks: identities are made of headers by the proofs that count, and strangers all get one answer."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from gateway_plugin.exchange.intent.identity import (
    AnonymousSource,
    IdentityRules,
    KeyClaim,
    KeyOwner,
    NamedUser,
    fairness_key,
    hidden_headers,
    identify,
    owner_of,
    subject_of,
)
from gateway_plugin.openai.errors import ApiError
from gateway_plugin.settings.identity_settings import IdentitySettings
from ratelimit import Source

HOST = "10.0.0.9"
KEY = "gw-" + "k" * 43
OTHER_KEY = "gw-" + "o" * 43
BY_KEY = IdentityRules(frozenset({"api-key"}))
BY_TOKEN = IdentityRules(frozenset({"bearer"}), "t0p")


def caller(rules: IdentityRules, **headers: str):
    return identify({name.replace("_", "-"): value for name, value in headers.items()}, HOST, rules)


def refusal(rules: IdentityRules, **headers: str) -> ApiError:
    with pytest.raises(ApiError) as raised:
        caller(rules, **headers)
    return raised.value


def test_on_a_trusted_network_the_header_is_believed():
    assert caller(IdentityRules(), user=" lgy ") == NamedUser("lgy")
    assert caller(IdentityRules()) == AnonymousSource(HOST)
    assert caller(IdentityRules(), authorization=f"Bearer {KEY}", user="lgy") == NamedUser("lgy")


def test_a_name_that_looks_like_a_source_is_a_user():
    rules = IdentityRules(anonymous="limit")
    named, nobody = caller(rules, user=f"anonymous/{HOST}"), caller(rules)
    assert subject_of(named, rules) == f"anonymous/{HOST}"
    assert subject_of(nobody, rules) == Source(HOST)
    assert fairness_key(nobody) != fairness_key(NamedUser(HOST))
    assert subject_of(nobody, IdentityRules()) is None


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {KEY}"}, {"x_api_key": KEY}, {"api_key": KEY}, {"x_api_key": KEY, "api_key": KEY}],
)
def test_a_key_may_be_in_any_of_three_headers(headers):
    claim = caller(BY_KEY, **headers)
    assert isinstance(claim, KeyClaim)
    assert claim.key_sha256 == hashlib.sha256(KEY.encode()).hexdigest()
    assert set(claim.headers) == {name.replace("_", "-") for name in headers}
    assert owner_of(claim, "lgy") == KeyOwner("lgy")


@pytest.mark.parametrize("proofs", [{"bearer"}, {"bearer", "header"}, {"bearer", "api-key"}])
def test_engines_do_not_see_the_token_that_may_name_anybody(proofs):
    rules = IdentityRules(frozenset(proofs), "t0p")
    ours = {"authorization": "Bearer t0p", "user": "lgy"}
    assert isinstance(identify(ours, HOST, rules), NamedUser)
    assert hidden_headers(ours, None, rules, engines_have_keys=False) == ("authorization",)
    theirs = ours | {"authorization": "Bearer sk-of-the-engine"}
    assert hidden_headers(theirs, None, rules, engines_have_keys=False) == ()
    forwarding = IdentityRules(frozenset(proofs), "t0p", forward_api_keys=True)
    assert hidden_headers(ours, None, forwarding, engines_have_keys=False) == ()


def test_a_key_of_the_engine_beside_ours_is_none_of_our_business():
    claim = caller(BY_KEY, authorization="Bearer sk-of-the-engine", x_api_key=KEY)
    assert isinstance(claim, KeyClaim)
    assert claim.headers == ("x-api-key",)


STRANGERS = {
    "nothing": {},
    "a name": {"user": "lgy"},
    "no name that could be": {"user": "\x01"},
    "another scheme": {"authorization": f"Basic {KEY}"},
    "somebody else's key": {"authorization": "Bearer sk-123"},
    "a key without its scheme": {"authorization": KEY},
    "two keys": {"authorization": f"Bearer {KEY}", "x_api_key": OTHER_KEY},
    "an empty key": {"authorization": "Bearer "},
    "a token that is not asked for": {"authorization": "Bearer t0p", "user": "lgy"},
}


def test_all_strangers_get_the_same_answer():
    answers = [refusal(BY_KEY, **headers) for headers in STRANGERS.values()]
    with pytest.raises(ApiError) as unknown:
        owner_of(KeyClaim("0", "lgy", ()), None)
    answers += [unknown.value, refusal(BY_TOKEN), refusal(BY_TOKEN, authorization="Bearer t0", user="lgy")]
    assert {(one.status, one.body, tuple(one.headers.items())) for one in answers} == {
        (401, answers[0].body, (("www-authenticate", "Bearer"),))
    }


def test_a_key_of_one_with_the_name_of_another():
    claim = caller(BY_KEY, authorization=f"Bearer {KEY}", user="kim")
    assert isinstance(claim, KeyClaim)
    with pytest.raises(ApiError) as raised:
        owner_of(claim, "lgy")
    assert raised.value.status == 403
    assert owner_of(claim, "kim") == KeyOwner("kim")


def test_a_trusted_hop_names_users():
    assert caller(BY_TOKEN, authorization="bearer t0p", user="lgy") == NamedUser("lgy")
    assert caller(BY_TOKEN, authorization="Bearer t0p") == AnonymousSource(HOST)
    rejecting = IdentityRules(BY_TOKEN.proofs, "t0p", anonymous="reject")
    assert refusal(rejecting, authorization="Bearer t0p").code == "user_required"


def test_any_set_of_proofs():
    sent = {"authorization": f"Bearer {KEY}", "user": "lgy"}
    for count in (1, 2, 3):
        for proofs in itertools.combinations(("header", "api-key", "bearer"), count):
            rules = IdentityRules(frozenset(proofs), "t0p")
            if "api-key" in proofs:
                assert isinstance(caller(rules, **sent), KeyClaim)
            elif "header" in proofs:
                assert caller(rules, **sent) == NamedUser("lgy")
            else:
                assert refusal(rules, **sent).status == 401


def settings(**values: object) -> IdentitySettings:
    return IdentitySettings.model_validate(values)


def test_the_older_settings_keep_their_meaning():
    assert settings().proofs == {"header"}
    assert settings(api_keys=True).proofs == {"header", "api-key"}
    assert settings(auth_bearer_token="t0p").proofs == {"bearer"}
    assert settings(auth_bearer_token="t0p", api_keys=True).proofs == {"bearer", "api-key"}
    assert settings(identity_proofs=" api-key , header").proofs == {"header", "api-key"}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"identity_proofs": "key"}, "'key' is none; allowed: header, api-key, bearer"),
        ({"identity_proofs": "bearer"}, "bearer needs auth_bearer_token"),
        ({"identity_proofs": "api-key", "auth_bearer_token": "t0p"}, "nobody asks for auth_bearer_token"),
        ({"identity_proofs": "header", "api_keys": True}, "api_keys = true needs api-key"),
        ({"identity_proofs": "api-key", "anonymous": "limit"}, "nobody is anonymous"),
    ],
)
def test_proofs_that_do_not_fit(values, named):
    with pytest.raises(ValueError, match=named):
        settings(**values)
