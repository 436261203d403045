"""HPACK against the `hpack` package, both ways, and against rubbish."""

from __future__ import annotations

import time
from contextlib import suppress

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_plugin.grpc.http2.hpack import Decoder, Encoder, HeaderListTooLargeError
from gateway_plugin.grpc.http2.hpack_static import STATIC_TABLE, Field
from gateway_plugin.grpc.http2.http2_errors import COMPRESSION_ERROR, ConnectionFault
from tests.unit.gateway_plugin.grpc.http2.peer import GRPC

names = st.sampled_from([name for name, _ in STATIC_TABLE] + [b"x-%d" % i for i in range(20)]) | st.binary(max_size=40)
values = st.sampled_from([b"", b"application/grpc", b"\xff\x00\n"]) | st.binary(max_size=80) | st.binary(max_size=5000)
header_lists = st.lists(st.tuples(names, values, st.booleans()), max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(header_lists, st.none() | st.integers(0, 4096), st.booleans()), max_size=8))
def test_what_hpack_encodes_is_decoded(blocks):
    encoder, decoder = hpack.Encoder(), Decoder()
    for fields, table_bytes, huffman in blocks:
        if table_bytes is not None:
            encoder.header_table_size = table_bytes
        block = encoder.encode(
            [hpack.HeaderTuple(n, v) if i else hpack.NeverIndexedHeaderTuple(n, v) for n, v, i in fields], huffman
        )
        expected = tuple((name, value) for name, value, _ in fields)
        assert decoder.decode(block) == expected


@given(
    st.lists(st.tuples(st.lists(st.tuples(names, values), max_size=6), st.none() | st.integers(0, 8192)), max_size=8)
)
def test_what_we_encode_hpack_decodes(blocks):
    indexed: tuple[Field, ...] = ((b"content-type", b"application/grpc"), (b"grpc-status", b"0"))
    encoder, decoder = Encoder(indexed), hpack.Decoder(max_header_list_size=2**20)
    for fields, table_bytes in blocks:
        if table_bytes is not None:
            encoder.allow(table_bytes)
            decoder.max_allowed_table_size = min(table_bytes, decoder.max_allowed_table_size)
        for list_ in ((*fields, *indexed), indexed, tuple(fields)):
            assert list(decoder.decode(encoder.encode(tuple(list_)), raw=True)) == list(list_)


def test_repeated_fields_become_one_byte_each():
    fields: tuple[Field, ...] = ((b":status", b"200"), (b"content-type", b"application/grpc"))
    encoder = Encoder(fields[1:])
    assert len(encoder.encode(fields)) > 20
    assert encoder.encode(fields) == b"\x88\xbe"
    encoder.allow(0)
    assert encoder.encode(fields).startswith(b"\x20\x88\x00")


def test_the_table_evicts_the_oldest():
    decoder, encoder = Decoder(), hpack.Encoder()
    for i in range(300):
        field = (b"x-%d" % i, b"v" * 100)
        assert decoder.decode(encoder.encode([field])) == (field,)
    assert len(decoder._fields) - 1 - len(STATIC_TABLE) == 4096 // (32 + 5 + 100)


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # beyond the table
        b"\xff\xff\xff\xff\xff\x0f",  # an endless integer
        b"\xff\x80",  # half an integer
        b"\x40",  # a name is missing
        b"\x41",  # a value is missing
        b"\x00\x05ab",  # a string longer than the block
        b"\x00\x81\xff\x01a",  # Huffman: EOS
        b"\x00\x82\x1f\xff\x01a",  # Huffman: too much padding
        b"\x82\x20",  # a size update after a field
        b"\x3f\xe2\x1f",  # a size above the allowed one
    ],
)
def test_invalid_blocks(block: bytes):
    with pytest.raises(ConnectionFault) as fault:
        Decoder().decode(block)
    assert fault.value.code == COMPRESSION_ERROR


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_rubbish_is_a_fault_or_a_list(blocks):
    decoder = Decoder(max_list_bytes=2000)
    for block in blocks:
        with suppress(ConnectionFault, HeaderListTooLargeError):
            assert sum(len(name) + len(value) + 32 for name, value in decoder.decode(block)) <= 2000
        table = decoder._fields[len(STATIC_TABLE) + 1 :]
        assert sum(len(name) + len(value) + 32 for name, value in table) == decoder._table_bytes <= 4096


def test_a_list_beyond_the_bound_leaves_the_table_intact():
    encoder, decoder = hpack.Encoder(), Decoder(max_list_bytes=100_000)
    bomb = encoder.encode([(b"x-bomb", b"v" * 3000)]) + b"\xbe" * 100
    with pytest.raises(HeaderListTooLargeError):
        decoder.decode(bomb)
    assert decoder.decode(encoder.encode([(b"x-bomb", b"v" * 3000)])) == ((b"x-bomb", b"v" * 3000),)


def test_what_is_remembered_is_bounded_and_never_stale():
    decoder = Decoder()
    block = b"\xbe"
    decoder.decode(b"\x40\x03x-a\x011")
    assert decoder.decode(block) == ((b"x-a", b"1"),)
    decoder.decode(b"\x40\x03x-b\x012")
    assert decoder.decode(block) == ((b"x-b", b"2"),)
    for i in range(1000):
        decoder.decode(b"\x00\x01a\x04%04d" % i)
        decoder.decode(b"\x00\x01a" + bytes([0x80 | len(coded(i))]) + coded(i))
    assert len(decoder.kept) <= 64
    assert len(decoder._strings) <= 64


def test_the_usual_block_costs_little():
    encoder, decoder = hpack.Encoder(), Decoder()
    decoder.decode(encoder.encode(GRPC))
    block = encoder.encode(GRPC)
    fastest = min(_seconds(decoder, block) for _ in range(50))
    assert fastest < 5e-6
    fastest = min(_seconds(decoder, block, forget=True) for _ in range(50))
    assert fastest < 20e-6, "5 us on an idle machine; this one may be busy"


def coded(number: int) -> bytes:
    """A number, Huffman-coded."""
    return bytes(hpack.Encoder().huffman_coder.encode(str(number).encode()))


def _seconds(decoder: Decoder, block: bytes, *, forget: bool = False) -> float:
    started = time.perf_counter()
    for _ in range(100):
        if forget:
            decoder.kept.clear()
        decoder.decode(block)
    return (time.perf_counter() - started) / 100
