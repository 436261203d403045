"""Two requests that look like one, or one that looks like two: at the front, and after Envoy replaced a body."""

from __future__ import annotations

from collections.abc import Sequence

from tests.attack import http1
from tests.attack.arena import Account, Arena
from tests.attack.attacks import Attack, Findings, Way, over_http1, over_http2
from tests.attack.http1 import chunked, request
from tests.attack.http2 import Writer, usual
from tests.attack.kinds.bodies import JSON, MODEL, chat

KIND = "smuggling"
_WAY = Way(patience_seconds=1.0, linger_seconds=0.15, must_answer=False)


def _smuggled(account: Account) -> bytes:
    """What is to slip through: engine management, without any proof."""
    return request("POST", "/v1/load_lora_adapter", [MODEL, ("user", account.name)], b"{}")


def _framed(name: str, lines: Sequence[str], body: bytes | None = None, *, tail: bool = True) -> Attack:
    """A request with these framing headers, and a hidden one behind its body."""

    def pieces(account: Account) -> list[bytes]:
        own = body if body is not None else chunked(chat())
        head = request(headers=[JSON, account.bearer]).removesuffix(b"\r\n")
        framing = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return [head + framing + own + (_smuggled(account) if tail else b"")]

    return _checked(over_http1(KIND, name, pieces, insider=True, way=_WAY))


def _checked(attack: Attack) -> Attack:
    """Afterwards somebody else must get their own answer, and not that of what was smuggled."""

    async def run(arena: Arena) -> Findings:
        found = await attack.run(arena)
        return found + await bystanders(arena)

    return Attack(attack.kind, attack.name, run)


async def bystanders(arena: Arena, count: int = 1) -> Findings:
    """What is wrong with the answers that others get now."""
    found = []
    for number in range(count):
        someone = await arena.account()
        body = chat(mark=f"{someone.name}-{number}")
        heard = await http1.talk(
            arena.port,
            [http1.marked(request(headers=[JSON, someone.bearer], body=body), someone.name)],
            patience_seconds=5,
            linger_seconds=0,
        )
        marks = [(answer.status, answer.headers.get("x-engine-body")) for answer in heard.answers]
        if marks != [(200, f"{someone.name}-{number}")]:
            found.append(f"a bystander got {marks or 'nothing'}")
    return found


_LENGTH = len(chunked(chat()))
_CHUNKED = "transfer-encoding: chunked"
_CASES = (
    ("cl.te", (f"content-length: {_LENGTH + 400}", _CHUNKED)),
    ("cl.te, cl short", ("content-length: 6", _CHUNKED)),
    ("cl.te, cl 0", ("content-length: 0", _CHUNKED)),
    ("te.cl", (_CHUNKED, f"content-length: {_LENGTH}")),
    ("te twice", (_CHUNKED, _CHUNKED)),
    ("te identity, chunked", ("transfer-encoding: identity, chunked",)),
    ("te chunked, identity", ("transfer-encoding: chunked, identity", f"content-length: {_LENGTH}")),
    ("te gzip, chunked", ("transfer-encoding: gzip, chunked",)),
    ("te xchunked", ("transfer-encoding: xchunked", f"content-length: {_LENGTH}")),
    ("te with a space before the colon", ("transfer-encoding : chunked", f"content-length: {_LENGTH}")),
    ("te with a tab", ("transfer-encoding:\tchunked", f"content-length: {_LENGTH}")),
    ("te with vertical tab", ("transfer-encoding: \x0bchunked", f"content-length: {_LENGTH}")),
    ("te in quotes", ('transfer-encoding: "chunked"', f"content-length: {_LENGTH}")),
    ("te folded", ("transfer-encoding:\r\n chunked", f"content-length: {_LENGTH}")),
    ("te upper case", ("Transfer-Encoding: CHUNKED", f"content-length: {_LENGTH}")),
    ("te with a null", ("transfer-encoding: chunked\x00", f"content-length: {_LENGTH}")),
    ("te with underscores", ("transfer_encoding: chunked", f"content-length: {_LENGTH}")),
    ("te after a bare CR", (f"x: y\r{_CHUNKED}", f"content-length: {_LENGTH}")),
    ("te after a bare LF", (f"x: y\n{_CHUNKED}", f"content-length: {_LENGTH}")),
    ("cl twice, different", ("content-length: 5", f"content-length: {_LENGTH}")),
    ("cl twice, same", (f"content-length: {_LENGTH}", f"content-length: {_LENGTH}")),
    ("cl list", (f"content-length: {_LENGTH}, 5",)),
    ("cl with plus", (f"content-length: +{_LENGTH}",)),
    ("cl negative", ("content-length: -1",)),
    ("cl hex", (f"content-length: {_LENGTH:#x}",)),
    ("cl with spaces", (f"content-length: {_LENGTH} 0",)),
    ("cl huge", ("content-length: 99999999999999999999999",)),
    ("cl empty", ("content-length:",)),
    ("cl zero", ("content-length: 0",)),
    ("no framing", ()),
)
_BODY = chat()
_CHUNK_CASES = (
    ("chunk size overflows", b"FFFFFFFFFFFFFFFFF\r\n"),
    ("chunk size wraps to the right one", b"1%016X\r\n%s\r\n0\r\n\r\n" % (len(_BODY), _BODY)),
    ("chunk size with 0x", b"0x%x\r\n%s\r\n0\r\n\r\n" % (len(_BODY), _BODY)),
    ("chunk size with plus", b"+%x\r\n%s\r\n0\r\n\r\n" % (len(_BODY), _BODY)),
    ("chunk size with spaces", b"%x   \r\n%s\r\n0\r\n\r\n" % (len(_BODY), _BODY)),
    ("chunk with an extension", b"%x;a=b\r\n%s\r\n0;c\r\n\r\n" % (len(_BODY), _BODY)),
    ("chunk extension of 70 kB", b"%x;%s\r\n%s\r\n0\r\n\r\n" % (len(_BODY), b"a" * 70_000, _BODY)),
    ("chunk extension with a bare LF", b"%x;a\nb\r\n%s\r\n0\r\n\r\n" % (len(_BODY), _BODY)),
    ("chunk ends with bare LF", b"%x\n%s\n0\n\n" % (len(_BODY), _BODY)),
    ("chunk longer than said", b"%x\r\n%s\r\n0\r\n\r\n" % (len(_BODY) - 5, _BODY)),
    ("last chunk without its end", b"%x\r\n%s\r\n0\r\n" % (len(_BODY), _BODY)),
    ("last chunk 000", b"%x\r\n%s\r\n0000\r\n\r\n" % (len(_BODY), _BODY)),
    ("negative chunk", b"-1\r\n%s\r\n0\r\n\r\n" % _BODY),
    ("chunk size empty", b"\r\n%s\r\n0\r\n\r\n" % _BODY),
)


def _over_2(name: str, *more: tuple[str, str], body: bytes = _BODY, path: str = "/v1/chat/completions") -> Attack:
    def script(writer: Writer, account: Account) -> list[bytes]:
        fields = usual("POST", path, JSON, account.bearer, *more)
        return [writer.headers(1, fields), writer.data(1, body)]

    return _checked(over_http2(KIND, f"h2 {name}", script, insider=True, way=_WAY))


def _pseudo(name: str, *fields: tuple[str, str]) -> Attack:
    def script(writer: Writer, account: Account) -> list[bytes]:
        return [writer.headers(1, [*fields, JSON, account.bearer, MODEL]), writer.data(1, chat())]

    return _checked(over_http2(KIND, f"h2 {name}", script, insider=True, way=_WAY))


_INJECTED = "x HTTP/1.1\r\nhost: a\r\n\r\nPOST /v1/load_lora_adapter HTTP/1.1\r\nhost: b\r\nmodel: m\r\n\r\n"
_P, _M, _S, _A = (":path", "/v1/chat/completions"), (":method", "POST"), (":scheme", "http"), (":authority", "g")
_HTTP2 = (
    _over_2("content-length too short", ("content-length", "5")),
    _over_2("content-length too long", ("content-length", str(len(_BODY) + 50))),
    _over_2("content-length twice", ("content-length", "5"), ("content-length", str(len(_BODY)))),
    _over_2("content-length 0", ("content-length", "0")),
    _over_2("transfer-encoding", ("transfer-encoding", "chunked"), body=chunked(_BODY)),
    _over_2("transfer-encoding and content-length", ("transfer-encoding", "chunked"), ("content-length", "5")),
    _over_2("connection", ("connection", "transfer-encoding"), ("transfer-encoding", "chunked")),
    _over_2("header value with CRLF", ("x-a", "b\r\ntransfer-encoding: chunked")),
    _over_2("header value with LF", ("x-a", "b\ntarget-pod: 1.2.3.4:5")),
    _over_2("header value with NUL", ("x-a", "b\x00c")),
    _over_2("header name with CRLF", ("x-a\r\ntransfer-encoding", "chunked")),
    _over_2("header name with colon", ("x-a: b\r\ntransfer-encoding: chunked\r\nx", "chunked")),
    _over_2("header name with space", ("transfer-encoding ", "chunked")),
    _over_2("header name upper case", ("Transfer-Encoding", "chunked")),
    _over_2("header name empty", ("", "chunked")),
    _over_2("path with CRLF", path="/v1/chat/completions " + _INJECTED),
    _over_2("path with a space", path="/v1/load_lora_adapter HTTP/1.1"),
    _over_2("path with a tab", path="/v1/chat/completions\tx"),
    _over_2("path absolute", path="http://gateway/v1/load_lora_adapter"),
    _over_2("path without slash", path="v1/load_lora_adapter"),
    _over_2("path empty", path=""),
    _over_2("path star", path="*"),
    _pseudo("method with CRLF", (":method", f"POST /v1/chat/completions {_INJECTED}"), _S, _P, _A),
    _pseudo("method with a space", (":method", "POST /v1/load_lora_adapter"), _S, _P, _A),
    _pseudo("path twice", _M, _S, _P, (":path", "/v1/load_lora_adapter"), _A),
    _pseudo("method twice", _M, (":method", "GET"), _S, _P, _A),
    _pseudo("scheme of a file", _M, (":scheme", "file"), _P, _A),
    _pseudo("scheme with a path", _M, (":scheme", "http://x/v1/load_lora_adapter?"), _P, _A),
    _pseudo("authority with a path", _M, _S, _P, (":authority", "g/v1/load_lora_adapter")),
    _pseudo("authority with CRLF", _M, _S, _P, (":authority", "g\r\ntarget-pod: 1.2.3.4:5")),
    _pseudo("authority and another host", _M, _S, _P, _A, ("host", "other")),
    _pseudo("no path", _M, _S, _A),
    _pseudo("no method", _S, _P, _A),
    _pseudo("no scheme", _M, _P, _A),
    _pseudo("no authority", _M, _S, _P),
    _pseudo("pseudo header after others", _M, _S, ("x", "y"), _P, _A),
    _pseudo("unknown pseudo header", _M, _S, _P, _A, (":protocol", "websocket")),
    _pseudo("status in a request", _M, _S, _P, _A, (":status", "200")),
    _pseudo("extended connect", (":method", "CONNECT"), (":protocol", "websocket"), _S, _P, _A),
)


def _replaced(name: str, head: Sequence[tuple[str, str]], frame: bool, body: bytes) -> Attack:
    """A body that the gateway rewrites: a stream whose usage it must ask for. Its new length must be the only one."""

    def pieces(account: Account) -> list[bytes]:
        headers = [JSON, account.bearer, *head]
        return [request(headers=headers, body=chunked(body) if frame else body, length=not frame), _smuggled(account)]

    return _checked(over_http1(KIND, f"replaced body, {name}", pieces, insider=True, way=_WAY))


def _replaced_over_2(name: str, *more: tuple[str, str]) -> Attack:
    return _over_2(f"replaced body, {name}", *more, body=_STREAM)


_STREAM = chat(stream=True)
_TE = ("transfer-encoding", "chunked")
_REPLACED = (
    _replaced("content-length", (), False, _STREAM),
    _replaced("chunked", (_TE,), True, _STREAM),
    _replaced("expect", (("expect", "100-continue"),), False, _STREAM),
    _replaced("spaces behind", (), False, _STREAM + b" " * 500),
    _replaced("a request behind", (), False, _STREAM + b"\r\n\r\nPOST /v1/load_lora_adapter HTTP/1.1\r\n\r\n"),
    _replaced("connection: close", (("connection", "close"),), False, _STREAM),
    _replaced("trailers", (_TE, ("trailer", "x")), True, _STREAM),
    _replaced_over_2("content-length", ("content-length", str(len(_STREAM)))),
    _replaced_over_2("no content-length"),
)

ATTACKS = (
    *(_framed(name, lines) for name, lines in _CASES),
    *(_framed(name, [_CHUNKED], body) for name, body in _CHUNK_CASES),
    _framed("a stranger's request in the same packet", [f"content-length: {len(_BODY)}"], _BODY),
    *_HTTP2,
    *_REPLACED,
)
