"""HPACK (RFC 7541): a decoder that keeps names and values as raw bytes, and an encoder for the few fields we send.

Envoy sends nearly the same block for every call. A block that changed nothing in the table is remembered with its
result until the table changes, and so are strings that needed Huffman decoding; both memories are small and bounded.
"""

from __future__ import annotations

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman

from gateway_plugin.grpc.http2.hpack_static import STATIC_TABLE, Field
from gateway_plugin.grpc.http2.http2_errors import COMPRESSION_ERROR, ConnectionFault

FIELD_OVERHEAD = 32
"""What an entry costs beyond its bytes (4.1), and a field of a header list (RFC 9113, 6.5.2)."""
DEFAULT_TABLE_BYTES = 4096
"""RFC 7541, the size until settings say another."""

_FIRST_DYNAMIC = len(STATIC_TABLE) + 1
_NO_FIELD: Field = (b"", b"")
_STATIC: list[Field] = [_NO_FIELD, *STATIC_TABLE]
_MAX_INTEGER_BYTES = 4
"""268 millions: no honest length is near it."""
_REMEMBERED_BYTES = 512
"""Of a block or a text whose meaning is kept; longer ones hardly repeat."""
_REMEMBERED = 64
"""Blocks of a connection: Envoy's have a few forms."""


class HeaderListTooLargeError(Exception):
    """The decoded list exceeds its bound; the table is as it must be."""


class Decoder:
    """The receiving side of one connection's header compression; raises ConnectionFault for any violation."""

    def __init__(self, max_table_bytes: int = DEFAULT_TABLE_BYTES, max_list_bytes: int = 2**62) -> None:
        self._allowed_bytes = max_table_bytes
        self._max_bytes = max_table_bytes
        self._max_list_bytes = max_list_bytes
        self._table_bytes = 0
        self._fields = list(_STATIC)  # dynamic entries follow, the newest first
        self._changes = 0
        self.kept: dict[bytes, tuple[Field, ...]] = {}
        """What `decode` gives for some blocks now; whoever looks here first is spared a call."""
        self._strings: dict[bytes, bytes] = {}

    def decode(self, block: bytes) -> tuple[Field, ...]:
        """The fields of a whole block, in order. Equal blocks may give the same tuple."""
        known = self.kept.get(block)
        if known is not None:
            return known
        changes = self._changes
        found = self._decode(block)
        if self._changes != changes:
            self.kept.clear()
        elif len(block) <= _REMEMBERED_BYTES:
            if len(self.kept) >= _REMEMBERED:
                self.kept.clear()
            self.kept[block] = found
        return found

    def _decode(self, block: bytes) -> tuple[Field, ...]:
        fields = self._fields
        found: list[Field] = []
        at, end, size = 0, len(block), 0
        try:
            while at < end:
                byte = block[at]
                if byte > 0x80 and byte != 0xFF:  # 6.1, an index of one byte
                    field = fields[byte & 0x7F]
                    at += 1
                elif byte & 0x80:
                    field, at = self._indexed(block, at)
                elif byte & 0x40:  # 6.2.1
                    field, at = self._literal(block, at, 0x3F)
                    self._insert(field)
                elif byte & 0x20:  # 6.3
                    at = self._resize(block, at, at_start=not found)
                    continue
                else:  # 6.2.2, 6.2.3
                    field, at = self._literal(block, at, 0x0F)
                size += len(field[0]) + len(field[1]) + FIELD_OVERHEAD
                found.append(field)
        except IndexError:
            raise _fault("index or length beyond what there is") from None
        if size > self._max_list_bytes:
            raise HeaderListTooLargeError
        return tuple(found)

    def _indexed(self, block: bytes, at: int) -> tuple[Field, int]:
        index, at = _integer(block, at, 0x7F)
        if not index:
            raise _fault("index 0")
        return self._fields[index], at

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[Field, int]:
        index, at = _integer(block, at, mask)
        if index:
            name = self._fields[index][0]
        else:
            name, at = self._string(block, at)
        value, at = self._string(block, at)
        return (name, value), at

    def _string(self, block: bytes, at: int) -> tuple[bytes, int]:
        """A string literal (5.2)."""
        huffman = block[at] & 0x80
        length, at = _integer(block, at, 0x7F)
        end = at + length
        if end > len(block):
            raise _fault("a string is longer than its block")
        raw = block[at:end]
        return (self._decoded(raw) if huffman else raw), end

    def _decoded(self, raw: bytes) -> bytes:
        known = self._strings.get(raw)
        if known is not None:
            return known
        try:
            text = decode_huffman(raw)
        except HPACKDecodingError:
            raise _fault("invalid Huffman code") from None
        if len(raw) <= _REMEMBERED_BYTES:
            if len(self._strings) >= _REMEMBERED:
                self._strings.clear()
            self._strings[raw] = text
        return text

    def _insert(self, field: Field) -> None:
        """Adds an entry (4.4): one that exceeds the table empties it and is not an error."""
        self._changes += 1
        size = len(field[0]) + len(field[1]) + FIELD_OVERHEAD
        self._evict(self._max_bytes - size)
        if size <= self._max_bytes:
            self._fields.insert(_FIRST_DYNAMIC, field)
            self._table_bytes += size

    def _evict(self, bound: int) -> None:
        fields = self._fields
        while self._table_bytes > bound and len(fields) > _FIRST_DYNAMIC:
            name, value = fields.pop()
            self._table_bytes -= len(name) + len(value) + FIELD_OVERHEAD

    def _resize(self, block: bytes, at: int, *, at_start: bool) -> int:
        """A dynamic table size update (6.3), which may only open a block (4.2)."""
        size, at = _integer(block, at, 0x1F)
        if not at_start:
            raise _fault("a table size update inside a block")
        if size > self._allowed_bytes:
            raise _fault("a table size update above the allowed size")
        self._changes += 1
        self._max_bytes = size
        self._evict(size)
        return at


class Encoder:
    """The sending side. Fields named at the start enter the peer's table when first sent; all others go as literals.

    Their number is small, so that nothing is ever evicted: a peer that allows less than `NEEDED_BYTES` gets literals.
    """

    NEEDED_BYTES = 256

    def __init__(self, indexed: tuple[Field, ...]) -> None:
        assert sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in indexed) <= self.NEEDED_BYTES
        self._indexed = indexed
        self._order: list[Field] = []
        self._table_bytes = DEFAULT_TABLE_BYTES
        self._update = b""
        self.kept: dict[tuple[Field, ...], bytes] = {}
        """What `encode` gives for some fields now; whoever looks here first is spared a call."""

    def allow(self, table_bytes: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE. A smaller table is acknowledged, never grown again; too small is 0."""
        if table_bytes < self._table_bytes:
            self._table_bytes = table_bytes if table_bytes >= self.NEEDED_BYTES else 0
            self._update = _integer_bytes(0x20, 0x1F, self._table_bytes)
            self.kept.clear()
            if not self._table_bytes:
                self._order.clear()

    def encode(self, fields: tuple[Field, ...]) -> bytes:
        """One header block."""
        known = self.kept.get(fields)
        if known is not None:
            return known
        size = len(self._order)
        block = b"".join([self._encode(field) for field in fields])
        if len(self._order) != size:
            self.kept.clear()  # every index has moved
        elif len(block) == len(fields):
            self.kept[fields] = block  # indices only, so these are few
        update, self._update = self._update, b""
        return update + block

    def _encode(self, field: Field) -> bytes:
        if field in self._order:
            return bytes((0x80 | (_FIRST_DYNAMIC + len(self._order) - 1 - self._order.index(field)),))
        if field in STATIC_TABLE:
            return bytes((0x80 | (STATIC_TABLE.index(field) + 1),))
        name, value = field
        indexed = self._table_bytes > 0 and field in self._indexed
        if indexed:
            self._order.append(field)
        return (b"\x40" if indexed else b"\x00") + _literal(name) + _literal(value)


def _literal(text: bytes) -> bytes:
    return _integer_bytes(0, 0x7F, len(text)) + text


def _integer_bytes(pattern: int, mask: int, value: int) -> bytes:
    """An integer with a prefix of the mask's bits, under the pattern (5.1)."""
    if value < mask:
        return bytes((pattern | value,))
    value -= mask
    written = bytearray((pattern | mask,))
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """An integer with a prefix of the mask's bits (5.1), and where it ends."""
    value = block[at] & mask
    at += 1
    if value != mask:
        return value, at
    for shift in range(0, 7 * _MAX_INTEGER_BYTES, 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _fault("an integer is too long")


def _fault(text: str) -> ConnectionFault:
    return ConnectionFault(COMPRESSION_ERROR, f"header block: {text}")
