"""Protobuf's wire format for the few messages that every request costs: built by hand, in a third of upb's time.

From Python, upb makes an object for each sub-message and copies it into its parent. Here a message is bytes, and its
parent is a join. Field numbers come from the descriptors; what is built parses to the same message (see the tests).
"""

from __future__ import annotations

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
_MAX_SHORT = 124  # an entry with a text of one-byte lengths needs three bytes beside text and key
_MAX_KEYS = 256
_KEYS: dict[str, bytes] = {}  # our own names mostly, and some pods' addresses


def tag(descriptor: Descriptor, name: str, wire_type: int = _BYTES) -> bytes:
    """What stands before each value of a field."""
    return varint(descriptor.fields_by_name[name].number << 3 | wire_type)


def varint(number: int) -> bytes:
    """A number of at least 0."""
    if number < 128:
        return _SHORT[number]
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
        key = _KEYS.get(name) or _key(name)
        if isinstance(value, str):
            text = value.encode()
            length = len(text)
            if length + len(key) < _MAX_SHORT:
                whole, inner = _SHORT[length + len(key) + 3], _SHORT[length + 2]
                parts += (_ENTRY, whole, key, inner, _STRING, _SHORT[length], text)
                continue
            encoded = field(_STRING, text)
        else:
            encoded = _value(value)
        size = varint(len(encoded))
        parts += (_ENTRY, varint(len(key) + len(size) + len(encoded)), key, size, encoded)
    return b"".join(parts)


def struct_entry(name: str, inner: bytes) -> bytes:
    """A Struct with one entry: another one, serialized already. Structs in a row are one with all entries."""
    value = field(_STRUCT, inner)
    return field(_ENTRY, (_KEYS.get(name) or _key(name)) + varint(len(value)) + value)


def _key(name: str) -> bytes:
    """An entry as far as its value's length."""
    key = field(_KEY, name.encode()) + _VALUE
    if len(_KEYS) < _MAX_KEYS:
        _KEYS[name] = key
    return key


def _value(value: Json) -> bytes:
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int | float):
        return _NUMBER + _DOUBLE.pack(value)
    assert not isinstance(value, str)
    return field(_STRUCT, struct(value))
