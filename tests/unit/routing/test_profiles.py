"""The annotation `model.aibrix.ai/config` and the profile of a request."""

from __future__ import annotations

import json

import pytest

from routing.profiles import Hints, ModelConfig, ProfileCache, ProfileError, is_auto, parse_profiles, resolve
from routing.strategies.options import OPTIONS

SOURCE = {
    "lockedRoutingStrategy": " prefix-cache ",
    "defaultProfile": "chat",
    "somethingNewer": [1],
    "profiles": {
        "chat": {"routingStrategy": "least-request", "requestsPerSecond": 100},
        "long": {
            "routingStrategy": "pd",
            "routingConfig": {"promptTokensGte": 8192, "combined": True, "decodeShare": 1},
        },
        "empty": None,
    },
}


def auto(hints: dict[str, dict[str, int]], prompt_tokens: float = 0.0, max_tokens: int | None = None) -> str:
    """The profile that `auto` chooses among profiles with these hints and a default without."""
    profiles = {name: {"routingConfig": config} for name, config in hints.items()}
    config = parse_profiles({"profiles": {**profiles, "default": {}}})
    return resolve(config, "auto", prompt_tokens, max_tokens).profile_name


@pytest.mark.parametrize("source", [SOURCE, json.dumps(SOURCE)])
def test_a_profile_by_name(source):
    resolved = resolve(parse_profiles(source), " long ", 0.0, None)
    assert (resolved.profile_name, resolved.strategy, resolved.locked_strategy) == ("long", "pd", "prefix-cache")
    assert (dict(resolved.config), resolved.requests_per_second) == ({**OPTIONS, "decodeShare": 1}, 0)
    assert not resolved.auto


@pytest.mark.parametrize("header", ["", " ", "nobody", "LONG"])
def test_unknown_names_mean_the_default_profile(header):
    resolved = resolve(parse_profiles(SOURCE), header, 9000.0, None)
    assert (resolved.profile_name, resolved.strategy, resolved.requests_per_second) == ("chat", "least-request", 100)


def test_the_default_profile_is_called_default_unless_said():
    config = parse_profiles({"profiles": {"default": {"routingStrategy": "a"}, "b": {}}})
    assert resolve(config, "", 0.0, None).strategy == "a"
    assert resolve(config, "b", 0.0, None).strategy == ""


def test_without_a_default_no_profile_applies_but_the_lock_does():
    resolved = resolve(parse_profiles({"lockedRoutingStrategy": "random", "profiles": {"a": {}}}), "b", 0.0, None)
    assert (resolved.profile_name, resolved.strategy, resolved.locked_strategy) == ("", "", "random")
    assert (dict(resolved.config), resolved.requests_per_second) == (dict(OPTIONS), 0)


def test_a_lock_needs_no_profiles():
    assert parse_profiles('{"lockedRoutingStrategy": "random"}').locked_strategy == "random"


@pytest.mark.parametrize("source", ["", "  ", "{}", "null", '{"profiles": null, "lockedRoutingStrategy": " "}'])
def test_nothing_said_is_nothing_configured(source):
    assert parse_profiles(source) == ModelConfig()


@pytest.mark.parametrize("header", ["auto", "AUTO", " Auto "])
def test_auto_by_hints(header):
    config = parse_profiles(SOURCE)
    assert is_auto(header)
    resolved = resolve(config, header, 8192.0, None)
    assert (resolved.profile_name, resolved.auto) == ("long", True)
    resolved = resolve(config, header, 8191.75, None)
    assert (resolved.profile_name, resolved.auto) == ("chat", True)


@pytest.mark.parametrize(
    ("hint", "prompt_tokens", "max_tokens", "met"),
    [
        ({"promptTokensGte": 10}, 10.0, None, True),
        ({"promptTokensGte": 10}, 9.9, None, False),
        ({"promptTokensLt": 10}, 9.9, None, True),
        ({"promptTokensLt": 10}, 10.0, None, False),
        ({"maxTokensGte": 10}, 0.0, 10, True),
        ({"maxTokensGte": 10}, 0.0, 9, False),
        ({"maxTokensGte": 0}, 0.0, None, False),
        ({"maxTokensLt": 10}, 0.0, 9, True),
        ({"maxTokensLt": 10}, 0.0, 10, False),
        ({"maxTokensLt": 10}, 0.0, None, False),
        ({"promptTokensGte": 1, "maxTokensLt": 10}, 5.0, 9, True),
        ({"promptTokensGte": 1, "maxTokensLt": 10}, 5.0, 10, False),
        ({"promptTokensGte": 1, "maxTokensLt": 10}, 0.0, 9, False),
        ({"promptTokensGte": None}, 0.0, None, False),
        ({"other": 1}, 0.0, None, False),
    ],
)
def test_all_hints_of_a_profile_must_be_met(hint, prompt_tokens, max_tokens, met):
    assert auto({"hinted": hint}, prompt_tokens, max_tokens) == ("hinted" if met else "default")


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        # More hints, before all else.
        ({"promptTokensGte": 1, "maxTokensGte": 1}, {"promptTokensGte": 50}),
        # Then larger promptTokensGte, before a smaller promptTokensLt.
        ({"promptTokensGte": 50, "promptTokensLt": 900}, {"promptTokensGte": 49, "promptTokensLt": 101}),
        # Then smaller promptTokensLt, before a larger maxTokensGte.
        ({"promptTokensLt": 101, "maxTokensGte": 1}, {"promptTokensLt": 102, "maxTokensGte": 50}),
        ({"promptTokensLt": 101}, {"maxTokensGte": 50}),
        # Then larger maxTokensGte, before a smaller maxTokensLt.
        ({"maxTokensGte": 50, "maxTokensLt": 900}, {"maxTokensGte": 49, "maxTokensLt": 101}),
        # Then smaller maxTokensLt.
        ({"maxTokensLt": 101}, {"maxTokensLt": 102}),
    ],
)
def test_ties_go_to_the_more_specific_profile(winner, loser):
    assert auto({"a": loser, "z": winner}, 100.0, 100) == "z"
    assert auto({"a": winner, "z": loser}, 100.0, 100) == "a"


def test_equal_hints_go_by_name():
    hint = {"promptTokensGte": 1}
    assert auto({"b": hint, "a": hint, "c": hint}, 100.0) == "a"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{", "config is '{'; allowed: JSON"),
        ("[" * 100_000, "allowed: JSON"),
        ([], "config is []; allowed: a mapping with text keys"),
        ({1: 2}, "config is {1: 2}; allowed: a mapping with text keys"),
        ({"lockedRoutingStrategy": 1}, "lockedRoutingStrategy is 1; allowed: a text"),
        ({"defaultProfile": "x", "profiles": {"a": {}}}, "defaultProfile is 'x'; allowed: a name of profiles: ['a']"),
        ({"profiles": []}, "profiles is []; allowed: a mapping"),
        ({"profiles": {"": {}}}, "a name in profiles is ''; allowed: printable ASCII"),
        ({"profiles": {"a\n": {}}}, r"a name in profiles is 'a\n'; allowed: printable ASCII"),
        ({"profiles": {"a": 1}}, "profiles.'a' is 1; allowed: a mapping"),
        ({"profiles": {"a": {"routingStrategy": 1}}}, "profiles.'a'.routingStrategy is 1; allowed: a text"),
        ({"profiles": {"a": {"routingConfig": "x"}}}, "profiles.'a'.routingConfig is 'x'; allowed: a mapping"),
        ({"profiles": {"a": {"requestsPerSecond": "5"}}}, "profiles.'a'.requestsPerSecond is '5'; allowed: a whole"),
        ({"profiles": {"a": {"requestsPerSecond": -1}}}, "profiles.'a'.requestsPerSecond is -1; allowed: a whole"),
        ({"profiles": {"a": {"requestsPerSecond": True}}}, "profiles.'a'.requestsPerSecond is True; allowed: a whole"),
        (
            {"profiles": {"a": {"routingConfig": {"maxTokensLt": 1.5}}}},
            "profiles.'a'.routingConfig.maxTokensLt is 1.5; allowed: a whole number from 0",
        ),
    ],
)
def test_mistakes_say_where_what_and_what_is_allowed(source, message):
    with pytest.raises(ProfileError) as raised:
        parse_profiles(source)
    assert message in str(raised.value)
    assert len(str(raised.value)) < 300


def test_a_configuration_cannot_change():
    config = parse_profiles(SOURCE)
    with pytest.raises(TypeError):
        config.profiles["long"].config["decodeShare"] = 2.0  # type: ignore[index]
    with pytest.raises(AttributeError):
        config.locked_strategy = ""  # type: ignore[misc]
    assert config.automatic == (config.profiles["long"],)
    assert config.profiles["long"].hints == Hints(prompt_tokens_gte=8192)


def test_the_cache_parses_each_text_once_and_forgets_the_oldest():
    cache = ProfileCache(max_texts=2)
    text = json.dumps(SOURCE)
    first = cache.get(text)
    assert cache.get(text) is first
    for number in range(3):
        cache.get(json.dumps({"lockedRoutingStrategy": str(number)}))
    assert cache.get(text) == first
    assert cache.get(text) is not first
    assert cache._parsed.cache_info().currsize == 2


def test_the_cache_keeps_mistakes_too():
    cache = ProfileCache()
    for _ in range(2):
        with pytest.raises(ProfileError, match="allowed: JSON"):
            cache.get("{")
    assert cache._parsed.cache_info().misses == 1


@pytest.mark.parametrize("value", [-1, "0.5", True, [1]])
def test_an_option_of_a_strategy_must_be_a_number(value: object) -> None:
    source = {"profiles": {"p": {"routingConfig": {"minMatchRatio": value}}}}
    with pytest.raises(ProfileError, match=r"routingConfig\.minMatchRatio is .*a number of at least 0"):
        parse_profiles(source)
