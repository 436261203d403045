from __future__ import annotations

import json

import pytest

from simulator.openai_requests import EngineError, parse_chat, parse_completion, parse_messages, parse_responses
from simulator.tokens import MEDIA_TOKENS, WORDS, block_hashes, count_tokens, encode_media, encode_text


def chat(*messages: tuple[str, object], **fields: object) -> bytes:
    return json.dumps({"messages": [{"role": r, "content": c} for r, c in messages], **fields}).encode()


def shared_tokens(left: bytes, right: bytes) -> int:
    pairs = zip(block_hashes(left, 1, "m"), block_hashes(right, 1, "m"), strict=False)
    return sum(one == other for one, other in pairs)


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("four", 1), ("fives", 2), ("日本", 2)])
def test_four_bytes_are_a_token(text: str, tokens: int):
    assert count_tokens(encode_text(text)) == tokens


def test_words_are_one_token_each():
    assert len(set(WORDS)) == len(WORDS) > 40
    assert all(len(word) == 4 and word[:3].isalpha() and word[3] == " " for word in WORDS)


def test_equal_hashes_mean_equal_prefixes():
    left, right = encode_text("a" * 640), encode_text("a" * 320 + "b" + "a" * 319)
    one, other = block_hashes(left, 16, "m"), block_hashes(right, 16, "m")
    assert len(one) == 10
    assert [x == y for x, y in zip(one, other, strict=True)] == [True] * 5 + [False] * 5
    assert not set(one) & set(block_hashes(left, 16, "adapter"))


def test_a_conversation_extends_its_own_earlier_turns_and_answers():
    answer = "".join(WORDS[:40])
    (first,) = parse_chat(chat(("system", "be kind"), ("user", "hello there"))).prompts
    (second,) = parse_chat(
        chat(("system", "be kind"), ("user", "hello there"), ("assistant", answer), ("user", "more"))
    ).prompts
    assert second.startswith(first + answer.encode())


def test_tools_and_parts_are_part_of_the_prompt():
    (plain,) = parse_chat(chat(("user", "hi"))).prompts
    (same,) = parse_chat(chat(("user", [{"type": "text", "text": "hi"}]))).prompts
    (null,) = parse_chat(chat(("user", "hi"), tools=None)).prompts
    (tools,) = parse_chat(chat(("user", "hi"), tools=[{"type": "function"}])).prompts
    (image,) = parse_chat(chat(("user", [{"type": "image_url", "image_url": {"url": "u"}}, "hi"]))).prompts
    assert plain == same == null
    assert tools.endswith(plain)
    assert len(tools) > len(plain)
    assert count_tokens(image) == count_tokens(plain) + MEDIA_TOKENS
    assert encode_media(b"one") != encode_media(b"two")


def test_other_apis_render_alike():
    (by_chat,) = parse_chat(chat(("system", "s"), ("user", "hi"))).prompts
    (by_messages,) = parse_messages(chat(("user", "hi"), system=[{"type": "text", "text": "s"}])).prompts
    (by_responses,) = parse_responses(json.dumps({"instructions": "s", "input": "hi"}).encode()).prompts
    assert by_chat == by_messages == by_responses


@pytest.mark.parametrize(
    ("prompt", "tokens"), [("eight ch", [2]), (["four", "eight ch"], [1, 2]), ([1, 2, 3], [3]), ([[1], [2, 3]], [1, 2])]
)
def test_forms_of_a_completion_prompt(prompt: object, tokens: list[int]):
    prompts = parse_completion(json.dumps({"prompt": prompt}).encode()).prompts
    assert [count_tokens(each) for each in prompts] == tokens


@pytest.mark.parametrize("prompt", ["", [], [""], [[]], [1, "a"], [-1], [2**32], {"a": 1}, None])
def test_bad_completion_prompts(prompt: object):
    with pytest.raises(EngineError):
        parse_completion(json.dumps({"prompt": prompt}).encode())


def test_a_shared_system_prompt_shares_tokens():
    (left,) = parse_chat(chat(("system", "s" * 400), ("user", "one"))).prompts
    (right,) = parse_chat(chat(("system", "s" * 400), ("user", "two"))).prompts
    assert 100 < shared_tokens(left, right) < count_tokens(left)
