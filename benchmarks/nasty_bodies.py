"""`python -m benchmarks.nasty_bodies [--mib 16]`: what reading a body costs, for bodies made to cost much.

Each is read as the exchange reads it, once, in this process: CPU milliseconds (of the event loop, which waits so long),
and the peak of what is allocated on the way, as multiples of the body, which itself is not counted. `outcome` is the
status of the refusal, or "read".
"""

from __future__ import annotations

import argparse
import gc
import time
import tracemalloc
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.table import Table

from gateway_plugin.endpoints.endpoint_table import BodyKind
from gateway_plugin.openai.errors import ApiError
from gateway_plugin.openai.multipart import read_multipart_head
from gateway_plugin.openai.prompt import read_json_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT, COMPLETION, RERANK, EMBEDDING = BodyKind.CHAT, BodyKind.COMPLETION, BodyKind.RERANK, BodyKind.EMBEDDING
FORM = "multipart/form-data; boundary=x"
_FILE = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
_MODEL = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'


class Nasty(NamedTuple):
    """A body that is made to cost much."""

    name: str
    kind: BodyKind
    body: bytes


def nasty_bodies(size_bytes: int) -> Iterator[Nasty]:
    """All of them, at about that size."""
    for name, kind, before, unit, after in _PATTERNS:
        yield Nasty(name, kind, before + unit * (size_bytes // len(unit)) + after)


def read(nasty: Nasty) -> str:
    """What becomes of it."""
    try:
        if nasty.kind is BodyKind.MULTIPART:
            read_multipart_head(FORM, nasty.body)
        else:
            read_json_prompt(nasty.kind, nasty.body)
    except ApiError as error:
        return str(error.status)
    return "read"


def peak_of_reading(nasty: Nasty) -> int:
    """Bytes allocated at once, beside the body."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        read(nasty)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


_MESSAGES = b'{"model":"m","messages":['
_PATTERNS: tuple[tuple[str, BodyKind, bytes, bytes, bytes], ...] = (
    ("numbers as messages", CHAT, _MESSAGES, b"0,", b"0]}"),
    ("empty lists as messages", CHAT, _MESSAGES, b"[],", b"[]]}"),
    ("empty objects as messages", CHAT, _MESSAGES, b"{},", b"{}]}"),
    ("empty texts as messages", CHAT, _MESSAGES, b'"",', b'""]}'),
    ("objects as messages", CHAT, _MESSAGES, b'{"role":"user"},', b"{}]}"),
    ("numbers as documents", RERANK, b'{"model":"m","query":"q","documents":[', b"0,", b"0]}"),
    ("numbers as input", EMBEDDING, b'{"model":"m","input":[', b"0,", b"0]}"),
    ("texts as prompts", COMPLETION, b'{"model":"m","prompt":[', b'"",', b'""]}'),
    ("texts of escaped quotes as prompts", COMPLETION, b'{"model":"m","prompt":["', b'\\"', b'"]}'),
    ("lists as prompts", COMPLETION, b'{"model":"m","prompt":[', b"[1],", b"[1]]}"),
    ("numbers in an unknown field", CHAT, b'{"model":"m","x":[', b"0,", b"0]}"),
    ("numbers in stream_options", CHAT, b'{"model":"m","stream_options":[', b"0,", b"0]}"),
    ("numbers as model", CHAT, b'{"model":[', b"0,", b"0]}"),
    ("numbers as stream", CHAT, b'{"model":"m","stream":[', b"0,", b"0]}"),
    ("many members", CHAT, b'{"model":"m"', b',"a":0', b"}"),
    ("many members with escapes", CHAT, b'{"model":"m"', b',"\\u0061":0', b"}"),
    ("one member many times", CHAT, b'{"model":"m"', b',"stream":0', b"}"),
    ("many members of one", CHAT, b'{"model":"m","x":{"b":1', b',"a":0', b"}}"),
    ("a long key", CHAT, b'{"model":"m","', b"k", b'":0}'),
    ("a long key of escapes", CHAT, b'{"model":"m","', b"\\u0061", b'":0}'),
    ("a long name", CHAT, b'{"model":"', b"m", b'"}'),
    ("a long name, four bytes a character", CHAT, '{"model":"\U0001f600'.encode(), b"m", b'"}'),
    ("a long salt", CHAT, b'{"model":"m","cache_salt":"', b"s", b'"}'),
    ("a long number", CHAT, b'{"model":"m","max_tokens":', b"1", b"}"),
    ("a long number as message", CHAT, _MESSAGES, b"1", b"]}"),
    ("floats", CHAT, _MESSAGES, b"1.5e-9,", b"0]}"),
    ("open brackets", CHAT, b"", b"[", b""),
    ("open brackets as messages", CHAT, _MESSAGES, b"[", b""),
    ("open objects", CHAT, b"", b'{"a":', b""),
    ("nested to the limit", CHAT, _MESSAGES, b"[" * 200 + b"]" * 200 + b",", b"0]}"),
    ("a long text", CHAT, _MESSAGES + b'"', b"a", b'"]}'),
    ("a long text of escapes", CHAT, _MESSAGES + b'"', b"\\n", b'"]}'),
    ("a long text of escaped characters", CHAT, _MESSAGES + b'"', b"\\u00e9", b'"]}'),
    ("a long text of emoji", CHAT, _MESSAGES + b'"', b"\\ud83d\\ude00", b'"]}'),
    ("half an emoji after numbers", CHAT, _MESSAGES, b"0,", b'"\\ud83d"]}'),
    ("half an emoji after lists", CHAT, _MESSAGES, b"[],", b'"\\ud83d"]}'),
    ("halves of emoji", CHAT, _MESSAGES + b'"', b"\\ud83d", b'"]}'),
    ("bytes that are no UTF-8", CHAT, _MESSAGES + b'"', b"\xff", b'"]}'),
    ("NUL", CHAT, b"", b"\0", b""),
    ("space before", CHAT, b"", b" ", b'{"model":"m"}'),
    ("space inside", CHAT, b'{"model":"m","messages":[]', b" ", b"}"),
    ("space behind", CHAT, b'{"model":"m"}', b" ", b""),
    ("one image", CHAT, _MESSAGES + b'{"image_url":{"url":"data:image/png;base64,', b"iVBORw0K", b'"}}]}'),
    ("small images", CHAT, _MESSAGES, b'{"data":"' + b"iVBORw0K" * 640 + b'"},', b"0]}"),
    ("almost images", CHAT, _MESSAGES, b'"' + b"iVBORw0K" * 600 + b'",', b"0]}"),
    ("names of fields in a text", CHAT, _MESSAGES + b'"', b'\\"model\\":', b'"]}'),
    ("names of fields in messages", CHAT, _MESSAGES, b'{"model":0},', b"0]}"),
    ("messages in messages", CHAT, b'{"model":"m","x":[', b'{"messages":[]},', b'0],"messages":[[]]}'),
    ("a file", BodyKind.MULTIPART, _FILE, b"\0\1\2\3", b"\r\n" + _MODEL + b"--x--\r\n"),
    ("a file of line ends", BodyKind.MULTIPART, _FILE, b"\r\n", b"\r\n" + _MODEL + b"--x--\r\n"),
    ("a file of boundaries", BodyKind.MULTIPART, _FILE, b"\r\n--", b"\r\n" + _MODEL + b"--x--\r\n"),
    ("many parts", BodyKind.MULTIPART, b"", _MODEL.replace(b"model", b"a"), _MODEL + b"--x--\r\n"),
    ("parts without headers", BodyKind.MULTIPART, b"", b"--x\r\n\r\n\r\n", _MODEL + b"--x--\r\n"),
    ("many headers", BodyKind.MULTIPART, b"--x\r\n", b"a:b\r\n", b"\r\n\r\n--x--\r\n"),
)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nasty_bodies")
    parser.add_argument("--mib", type=int, default=16)
    arguments = parser.parse_args()
    table = Table(
        "body", "kind", "outcome", "CPU ms", "peak / body", title=f"{arguments.mib} MiB each", show_edge=False
    )
    for nasty in nasty_bodies(arguments.mib * 1024 * 1024):
        read(nasty)
        began = time.process_time()
        outcome = read(nasty)
        spent = time.process_time() - began
        peak = peak_of_reading(nasty) / len(nasty.body)
        table.add_row(nasty.name, nasty.kind.value, outcome, f"{spent * 1000:.1f}", f"{peak:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
