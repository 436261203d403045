"""Bodies that are nasty, ambiguous, compressed, large, or half of what they say."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence

from tests.attack.arena import Account
from tests.attack.attacks import Attack, Way, over_http1, over_http2
from tests.attack.http1 import request
from tests.attack.http2 import Writer, usual
from tests.attack.kinds.bodies import JSON, chat

KIND = "bodies"
_MESSAGES = b'"messages":[{"role":"user","content":"hi"}],"max_tokens":4'
_MIB = 1024 * 1024


def _posted(
    name: str, body: bytes, *headers: tuple[str, str], path: str = "/v1/chat/completions", insider: bool = True
) -> Attack:
    def pieces(account: Account) -> list[bytes]:
        proof = account.bearer if insider else ("user", account.name)
        return [request("POST", path, [*(headers or [JSON]), proof], body)]

    return over_http1(KIND, name, pieces, insider=insider, way=Way(patience_seconds=10))


_TWO_MODELS = (
    ("model twice, mine last", b'{"model":"secret","model":"m",%s}' % _MESSAGES),
    ("model twice, mine first", b'{"model":"m","model":"secret",%s}' % _MESSAGES),
    ("model twice, far apart", b'{"model":"m",%s,"x":"%s","model":"secret"}' % (_MESSAGES, b"a" * 100_000)),
    ("model twice, one escaped", b'{"model":"m","mod\\u0065l":"secret",%s}' % _MESSAGES),
    ("model twice, one null", b'{"model":"m","model":null,%s}' % _MESSAGES),
    ("model in other case", b'{"model":"m","Model":"secret","MODEL":"secret",%s}' % _MESSAGES),
    ("model with a null byte", b'{"model":"m\\u0000secret",%s}' % _MESSAGES),
    ("model with CRLF", b'{"model":"m\\r\\ntarget-pod: 1.2.3.4:5",%s}' % _MESSAGES),
    ("model with spaces", b'{"model":" secret ",%s}' % _MESSAGES),
    ("model as a list", b'{"model":["secret"],%s}' % _MESSAGES),
    ("model as a number", b'{"model":1,%s}' % _MESSAGES),
    ("two documents", b'{"model":"m",%s}{"model":"secret",%s}' % (_MESSAGES, _MESSAGES)),
    ("two documents, a line each", b'{"model":"m",%s}\n{"model":"secret",%s}' % (_MESSAGES, _MESSAGES)),
    ("a byte order mark", b'\xef\xbb\xbf{"model":"m",%s}' % _MESSAGES),
    ("UTF-16", chat().decode().encode("utf-16")),
    ("UTF-32", chat().decode().encode("utf-32")),
    ("comments", b'{"model":"m",/*"model":"secret",*/%s}' % _MESSAGES),
    ("single quotes", b"{'model':'m'}"),
    ("NaN", b'{"model":"m","temperature":NaN,%s}' % _MESSAGES),
    ("trailing comma", b'{"model":"m",%s,}' % _MESSAGES),
    ("broken UTF-8", b'{"model":"m","x":"\xff\xfe",%s}' % _MESSAGES),
    ("lone surrogate", b'{"model":"m","x":"\\ud83d",%s}' % _MESSAGES),
)
_NASTY = (
    ("max_tokens 10**400", b'{"model":"m",%s,"max_tokens":1%s}' % (_MESSAGES, b"0" * 400)),
    ("max_tokens 1e400", b'{"model":"m",%s,"max_tokens":1e400}' % _MESSAGES),
    ("max_tokens -1", b'{"model":"m",%s,"max_tokens":-1}' % _MESSAGES),
    ("max_tokens 0.5", b'{"model":"m",%s,"max_tokens":0.5}' % _MESSAGES),
    ("max_tokens in quotes", b'{"model":"m",%s,"max_tokens":"4"}' % _MESSAGES),
    ("max_tokens a list", b'{"model":"m",%s,"max_tokens":[4]}' % _MESSAGES),
    ("n 10**400", b'{"model":"m",%s,"n":1%s}' % (_MESSAGES, b"0" * 400)),
    ("deep lists", b'{"model":"m","messages":' + b"[" * 200_000),
    ("deep lists, closed", b'{"model":"m","messages":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    ("deep lists elsewhere", b'{"model":"m",%s,"x":' % _MESSAGES + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    ("deep objects", b'{"model":"m","messages":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001),
    ("a MiB of brackets", b"[" * _MIB),
    ("many small items", b'{"model":"m","messages":[' + b"0," * 500_000 + b"0]}"),
    ("many keys", b'{"model":"m",' + b",".join(b'"%d":0' % i for i in range(100_000)) + b"," + _MESSAGES + b"}"),
    ("a long key", b'{"model":"m","%s":0,%s}' % (b"k" * _MIB, _MESSAGES)),
    ("a long number", b'{"model":"m","x":%s,%s}' % (b"9" * _MIB, _MESSAGES)),
    ("escapes", b'{"model":"m","x":"%s",%s}' % (b"\\u0041" * 100_000, _MESSAGES)),
    ("empty", b""),
    ("null", b"null"),
    ("a number", b"1"),
    ("a text", b'"m"'),
    ("a list", b'[{"model":"m"}]'),
    ("no messages", b'{"model":"m"}'),
    ("messages null", b'{"model":"m","messages":null}'),
    ("a content that is an object", b'{"model":"m","messages":[{"role":"user","content":{"a":1}}]}'),
    ("stream null", b'{"model":"m",%s,"stream":null}' % _MESSAGES),
    ("stream in quotes", b'{"model":"m",%s,"stream":"true"}' % _MESSAGES),
    ("stream_options a list", b'{"model":"m",%s,"stream":true,"stream_options":[]}' % _MESSAGES),
    ("stream_options twice", b'{"model":"m",%s,"stream":true,"stream_options":{},"stream_options":null}' % _MESSAGES),
    ("stream twice", b'{"model":"m",%s,"stream":false,"stream":true}' % _MESSAGES),
)


def _multipart(name: str, parts: Sequence[bytes], boundary: str = "b", content_type: str = "") -> Attack:
    mark = boundary.encode("latin-1")
    body = b"".join(b"--%s\r\n%s\r\n" % (mark, part) for part in parts) + b"--%s--\r\n" % mark
    kind = ("content-type", content_type or f"multipart/form-data; boundary={boundary}")
    return _posted(f"multipart, {name}", body, kind, path="/v1/audio/transcriptions")


def _field(name: str, value: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()


_FILE = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\nRIFF'
_MINE, _SECRET = _field("model", "m"), _field("model", "secret")
_MULTIPART = (
    _multipart("two models, mine first", [_field("model", "m"), _field("model", "secret"), _FILE]),
    _multipart("two models, mine last", [_field("model", "secret"), _field("model", "m"), _FILE]),
    _multipart("two models behind the file", [_FILE, _field("model", "m"), _field("model", "secret")]),
    _multipart("model as a file", [_FILE, b'Content-Disposition: form-data; name="model"; filename="x"\r\n\r\nm']),
    _multipart("name twice", [_FILE, b'Content-Disposition: form-data; name="x"; name="model"\r\n\r\nm']),
    _multipart("name*", [_FILE, b"Content-Disposition: form-data; name*=utf-8''model\r\n\r\nm", _SECRET]),
    _multipart("disposition twice", [_FILE, b'Content-Disposition: form-data; name="x"\r\n' + _field("model", "m")]),
    _multipart("model in other case", [_FILE, _field("Model", "secret"), _field("model", "m")]),
    _multipart("no model", [_FILE]),
    _multipart("a boundary of 300", [_FILE, _field("model", "m")], boundary="b" * 300),
    _multipart("a boundary of none", [_FILE, _field("model", "m")], content_type="multipart/form-data"),
    _multipart("two boundaries", [_FILE, _MINE], content_type="multipart/form-data; boundary=c; boundary=b"),
    _multipart("an empty boundary", [_FILE, _field("model", "m")], content_type="multipart/form-data; boundary="),
    _multipart("many parts", [_field(f"f{i}", "") for i in range(20_000)] + [_field("model", "m")]),
    _multipart("a long part header", [b"X: " + b"a" * 200_000 + b"\r\n" + _field("model", "m"), _FILE]),
    _multipart("base64", [b"Content-Transfer-Encoding: base64\r\n" + _field("model", "bQ=="), _FILE]),
    _multipart("mixed inside", [b"Content-Type: multipart/mixed; boundary=c\r\n" + _field("model", "m"), _FILE]),
    _multipart("JSON on an audio path", [], content_type="application/json"),
)  # fmt: skip


def _bomb(mib: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    pieces = [packer.compress(b'{"model":"m","x":"')]
    pieces += [packer.compress(b"a" * _MIB) for _ in range(mib)]
    return b"".join([*pieces, packer.compress(b'",%s}' % _MESSAGES), packer.flush()])


def _encoded(name: str, coding: str, body: bytes, insider: bool = True) -> Attack:
    return _posted(f"content-encoding {name}", body, JSON, ("content-encoding", coding), insider=insider)


_PLAIN = chat()
_COMPRESSED = (
    _encoded("gzip", "gzip", gzip.compress(_PLAIN)),
    _encoded("gzip, upper case", "GZIP", gzip.compress(_PLAIN)),
    _encoded("gzip, a bomb of 200 MiB", "gzip", _bomb(200)),
    _encoded("gzip, a bomb of 200 MiB, by a stranger", "gzip", _bomb(200), insider=False),
    _encoded("gzip, twice", "gzip, gzip", gzip.compress(gzip.compress(_PLAIN))),
    _encoded("gzip, cut", "gzip", gzip.compress(_PLAIN)[:-9]),
    _encoded("gzip, two members", "gzip", gzip.compress(_PLAIN) + gzip.compress(b',"model":"secret"')),
    _encoded("gzip, garbage behind", "gzip", gzip.compress(_PLAIN) + b"garbage"),
    _encoded("gzip that is none", "gzip", _PLAIN),
    _encoded("plain that is gzip", "identity", gzip.compress(_PLAIN)),
    _encoded("gzip that asks for another model", "gzip", gzip.compress(chat(model="secret"))),
    _encoded("deflate", "deflate", zlib.compress(_PLAIN)),
    _encoded("br", "br", b"\x0b\x02\x80hi\x03"),
    _encoded("zstd", "zstd", b"\x28\xb5\x2f\xfd\x00"),
    _encoded("unknown", "x-unknown", _PLAIN),
    _encoded("a list with identity", "identity, gzip", gzip.compress(_PLAIN)),
)


def _large(name: str, total: int, path: str, insider: bool) -> Attack:
    body = b'{"model":"m","x":"%s",%s}' % (b"a" * total, _MESSAGES)
    return _posted(f"{name} at {path}", body, path=path, insider=insider)


def _large_head(name: str, headers: list[tuple[str, str]]) -> Attack:
    def pieces(account: Account) -> list[bytes]:
        return [request(headers=[JSON, account.bearer, *headers], body=chat())]

    return over_http1(KIND, name, pieces, insider=True, way=Way(patience_seconds=5))


_LARGE = (
    _large("90 MiB", 90 * _MIB, "/v1/chat/completions", insider=True),
    _large("90 MiB by a stranger", 90 * _MIB, "/v1/chat/completions", insider=False),
    _large("90 MiB", 90 * _MIB, "/nowhere", insider=False),
    _large_head("a header of 200 kB", [("x-a", "a" * 200_000)]),
    _large_head("5000 headers", [(f"x-{i}", "a") for i in range(5000)]),
    _large_head("a user of 60 kB", [("user", "a" * 60_000)]),
    _large_head("a filter of 50 kB", [("external-filter", ",".join(f"k{i}!=v" for i in range(7000)))]),
    _large_head("a filter that is quadratic", [("external-filter", "a in (" * 5000)]),
    _large_head("a session of 50 kB", [("x-session-id", "s" * 50_000)]),
    _large_head("a strategy of 50 kB", [("routing-strategy", ("least-request:1," * 3000)[:-1])]),
    _large_head("a key of 50 kB", [("authorization", "Bearer gw-" + "k" * 50_000)]),
)


def _broken_off(name: str, keep: int, *, reset: bool) -> Attack:
    """Half a body over HTTP/2; then nothing more, or a reset."""

    def script(writer: Writer, account: Account) -> list[bytes]:
        head = writer.headers(1, usual("POST", "/v1/chat/completions", JSON, account.bearer))
        sent = [head, writer.data(1, chat()[:keep], end=False)]
        return [*sent, writer.reset(1)] if reset else sent

    way = Way(patience_seconds=0.3, must_answer=False)
    return over_http2(KIND, name, script, insider=True, way=way)


def _reset_at_once(count: int) -> Attack:
    """Opens whole requests and resets each in the same packet."""

    def script(writer: Writer, account: Account) -> list[bytes]:
        pieces = []
        for stream in range(1, 2 * count, 2):
            fields = usual("POST", "/v1/chat/completions", JSON, account.bearer)
            pieces.append(writer.headers(stream, fields) + writer.data(stream, chat()) + writer.reset(stream))
        return [b"".join(pieces)]

    way = Way(patience_seconds=0.5, must_answer=False)
    return over_http2(KIND, f"h2 {count} requests, each reset at once", script, insider=True, way=way)


_HALF = (
    _broken_off("h2 half a body, and silence", 20, reset=False),
    _broken_off("h2 half a body, and a reset", 20, reset=True),
    _broken_off("h2 a whole body without its end, and a reset", 999, reset=True),
    _reset_at_once(100),
)

ATTACKS = (
    *(_posted(name, body) for name, body in (*_TWO_MODELS, *_NASTY)),
    *(_posted(f"{name}, no content-type", body, ("x-a", "b")) for name, body in _TWO_MODELS[:4]),
    _posted("text/plain", _PLAIN, ("content-type", "text/plain")),
    _posted("form", b"model=m", ("content-type", "application/x-www-form-urlencoded")),
    _posted("content-type twice", _PLAIN, JSON, ("content-type", "multipart/form-data; boundary=b")),
    _posted("charset", _PLAIN.decode().encode("utf-16"), ("content-type", "application/json; charset=utf-16")),
    *_MULTIPART,
    *_COMPRESSED,
    *_LARGE,
    *_HALF,
)
