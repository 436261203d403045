"""Single values of a body, read as leniently as engines read them: a number or a truth in quotes is one.

Engines validate with pydantic, which coerces. Whatever they would refuse is read here as "nothing said", and is theirs
to refuse; only a value that would leave it open how a request is counted is refused at once.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw
from xxhash import xxh3_128_hexdigest

from gateway_plugin.openai.error_table import NO_MODEL
from gateway_plugin.openai.errors import ApiError, bad_body

MAX_MODEL_BYTES = 1024
"""Of a model's name; it is a key of maps and a header."""
MAX_COUNT = 10**9
"""Of tokens or answers that a client may name."""
MAX_SALT_BYTES = 1024
"""Of `cache_salt`."""
_MAX_NUMBER_BYTES = 64
"""Of a number's text; its value needs 20."""
_NUMBER_BEGINS = re.compile(rb'"?[ \t]*\+?[0-9]')
_WORDS = dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True) | dict.fromkeys(
    ("false", "f", "no", "n", "off", "0"), False
)
_LITERALS = {b"true": True, b"1": True, b"1.0": True, b"false": False, b"0": False, b"0.0": False}
_TEXT = msgspec.json.Decoder(str)


def model_name(value: Raw, default: str = "") -> str:
    """The `model` of a body, which may be told elsewhere; raises ApiError 400."""
    if len(value) > MAX_MODEL_BYTES:
        raise bad_body(f"'model' is longer than {MAX_MODEL_BYTES} bytes", param="model")
    if bytes(value) in (b"", b"null", b'""'):
        if default:
            return default
        raise missing_model()
    try:
        return _TEXT.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise bad_body("'model': expected a string", param="model") from None


def missing_model() -> ApiError:
    """400 for a body that names no model."""
    return ApiError(NO_MODEL, "'model' is a required property", param="model")


def flag(value: Raw, name: str) -> bool:
    """A value that must be true or false; raises ApiError 400 for what could be taken for either."""
    text = bytes(value) if len(value) <= _MAX_NUMBER_BYTES else b"?"
    if text in (b"", b"null"):
        return False
    quoted = text.startswith(b'"')
    said = truth(text.strip(b'"').decode("latin-1")) if quoted else _LITERALS.get(text)
    if said is None:
        raise bad_body(f"'{name}': expected a boolean", param=name)
    return said


def truth(text: str) -> bool | None:
    """True or false in all words that pydantic takes for them."""
    return _WORDS.get(text.lower())


def count(value: Raw) -> int | None:
    """A number from 1, at most `MAX_COUNT`, rounded down; None for all else."""
    if not value:
        return None
    if len(value) > _MAX_NUMBER_BYTES:
        return MAX_COUNT if _NUMBER_BEGINS.match(value) else None
    try:
        number = float(bytes(value).strip(b'"'))
    except ValueError:
        return None
    return int(min(number, MAX_COUNT)) if number >= 1 else None


def salt(value: Raw) -> str:
    """A `cache_salt`: equal texts give equal ones, and others others."""
    if not value:
        return ""
    if len(value) > MAX_SALT_BYTES:
        return xxh3_128_hexdigest(value)
    try:
        return _TEXT.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "" if bytes(value) == b"null" else bytes(value).decode("latin-1")
