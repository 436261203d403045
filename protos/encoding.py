"""Protobuf's wire format for the few messages that every request costs: built by hand, in a fifth of upb's time.

From Python, upb makes an object for each sub-message and copies it into its parent. Here a message is bytes, and its
parent is a join. All that stands before a value follows from its name and its length alone, and is kept by those. Field
numbers come from the descriptors; what is built parses to the same message (see the tests).
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct as Packer
from typing import TYPE_CHECKING

from google.protobuf.struct_pb2 import Struct, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import Descriptor

    Json = str | bool | float | Mapping[str, "Json"]

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_SHORT = tuple(bytes((length,)) for length in range(128))
_DOUBLE = Packer("<d")
MAX_KEPT = 4096
"""Beginnings of each kind that are kept: names are our own and pods' addresses, lengths mostly alike."""


def tag(descriptor: Descriptor, name: str, wire_type: int = _BYTES) -> bytes:
    """What stands before each value of a field."""
    return varint(descriptor.fields_by_name[name].number << 3 | wire_type)


def varint(number: int) -> bytes:
    """A number of at least 0."""
    if number < 128:
        return _SHORT[number]
    if number < 16384:
        return bytes((number & 0x7F | 0x80, number >> 7))
    written = bytearray()
    while number >= 128:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def field(before: bytes, content: bytes) -> bytes:
    """A string, bytes or a message, after its tag."""
    return before + varint(len(content)) + content


_ENTRY = tag(Struct.DESCRIPTOR, "fields")
_KEY, _VALUE = varint(1 << 3 | _BYTES), varint(2 << 3 | _BYTES)  # of every map's entries
_STRING = tag(Value.DESCRIPTOR, "string_value")
_STRUCT = tag(Value.DESCRIPTOR, "struct_value")
_NUMBER = tag(Value.DESCRIPTOR, "number_value", _FIXED64)
_TRUE = tag(Value.DESCRIPTOR, "bool_value", _VARINT) + b"\x01"
_FALSE = tag(Value.DESCRIPTOR, "bool_value", _VARINT) + b"\x00"


def struct(values: Mapping[str, Json]) -> bytes:
    """google.protobuf.Struct."""
    parts: list[bytes] = []
    for name, value in values.items():
        if type(value) is str:
            text = value.encode()
            parts += (before_text(name, len(text)), text)
        elif type(value) is float or type(value) is int:
            parts += (_before_number(name), _DOUBLE.pack(value))
        elif type(value) is dict:
            encoded = struct(value)
            parts += (before_struct(name, len(encoded)), encoded)
        else:
            encoded = _value(value)
            parts += (_before_value(name, len(encoded)), encoded)
    return b"".join(parts)


@lru_cache(MAX_KEPT)
def before_struct(name: str, length: int) -> bytes:
    """What a Struct with one entry, another one of that many bytes, says before it. Structs in a row are one with all
    entries."""
    inner = _STRUCT + varint(length)
    return _before_value(name, len(inner) + length) + inner


@lru_cache(MAX_KEPT)
def before_text(name: str, length: int) -> bytes:
    """An entry of a Struct as far as its text of that many bytes."""
    inner = _STRING + varint(length)
    return _before_value(name, len(inner) + length) + inner


@lru_cache(MAX_KEPT)
def _before_number(name: str) -> bytes:
    return _before_value(name, len(_NUMBER) + _DOUBLE.size) + _NUMBER


@lru_cache(MAX_KEPT)
def _before_value(name: str, length: int) -> bytes:
    """An entry as far as its value, a message of that many bytes."""
    key = field(_KEY, name.encode()) + _VALUE + varint(length)
    return _ENTRY + varint(len(key) + length) + key


def _value(value: Json) -> bytes:
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, (int, float)):
        return _NUMBER + _DOUBLE.pack(value)
    if isinstance(value, str):
        return field(_STRING, value.encode())
    return field(_STRUCT, struct(value))
