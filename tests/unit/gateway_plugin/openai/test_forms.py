"""Forms: one reading of each, and never another than the engine's."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway_plugin.openai.errors import ApiError
from gateway_plugin.openai.head import RequestHead
from gateway_plugin.openai.multipart import multipart_with_model, read_multipart_head

FORM = "multipart/form-data; boundary=x"
DISPOSITION = b"Content-Disposition: form-data; name="


def part(name: bytes, value: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join((b"--x", DISPOSITION + b'"%b"' % name, *lines, b"", value, b""))


def form(*parts: bytes, end: bytes = b"--x--\r\n") -> bytes:
    return b"".join(parts) + end


FAILED = "failed to parse multipart form: "
FILE = part(b"file", b"\x00\r\n-" * 1000, b"Content-Type: audio/wav")
MODEL = part(b"model", b"whisper")


def refusal(body: bytes, content_type: str = FORM) -> str:
    with pytest.raises(ApiError) as caught:
        read_multipart_head(content_type, body)
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        form(FILE, MODEL),
        form(MODEL, FILE),
        form(MODEL, end=b"--x--"),
        b"\r\n" + form(MODEL),
        form(part(b"model", b"whisper", b"Content-Type: text/plain; charset=utf-8")),
        form(b"--x\r\ncontent-disposition:form-data;NAME=model\r\n\r\nwhisper\r\n"),
        form(b'--x\r\nContent-Disposition: form-data; filename="C:\\\\a;\\"b.wav"; name="file"\r\n\r\n\r\n', MODEL),
        form(b'--x\r\nContent-Disposition: form-data; name="file"; filename="name=model; name"\r\n\r\n\r\n', MODEL),
        form(part(b"models", b"other"), MODEL, part(b"Model", b"other")),
    ],
)
def test_forms_as_clients_write_them(body: bytes):
    assert read_multipart_head(FORM, body) == RequestHead("whisper", stream=False)
    changed = multipart_with_model(FORM, body, "large")
    assert changed == body.replace(b"whisper", b"large")


@pytest.mark.parametrize(("value", "expected"), [(b"true", True), (b"1", True), (b"on", True), (b"False", False)])
def test_whether_it_streams(value: bytes, expected: bool):
    assert read_multipart_head(FORM, form(MODEL, part(b"stream", value))).stream is expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (form(MODEL, MODEL), "form field 'model' stands more than once"),
        (form(MODEL, part(b"model", b"other")), "form field 'model' stands more than once"),
        (form(MODEL, part(b"stream", b""), part(b"stream", b"true")), "form field 'stream' stands more than once"),
        (form(MODEL, part(b"stream", b"perhaps")), "form field 'stream': expected a boolean"),
        (form(FILE), "'model' is a required property"),
        (form(part(b"model", b" ")), "'model' is a required property"),
        (form(part(b"model", b"m" * 2000)), "form field 'model' is longer than 1024 bytes"),
        (form(part(b"model", b"\xff")), "form field 'model' is not UTF-8 text"),
        (form(part(b"model", b"bQ==", b"Content-Transfer-Encoding: base64")), "form field 'model' is not UTF-8 text"),
        (form(part(b"model", b"m", b'Content-Type: text/plain;charset="utf-16"')), "form field 'model' is not UTF-8"),
        (b"garbage", FAILED + "it does not begin"),
        (b"preamble\r\n" + form(MODEL), FAILED + "it does not begin"),
        (form(end=b"--x--\r\n"), FAILED + "it does not begin"),
        (form(MODEL, end=b"--x\r\n"), FAILED + "the headers of a part do not end"),
        (form(MODEL, end=b""), FAILED + "it ends before"),
        (form(MODEL)[:-9], FAILED + "it ends before"),
        (form(MODEL, end=b"--x--\r\n" + MODEL), FAILED + "a boundary is followed"),
        (form(MODEL, end=b"--x \r\n" + part(b"model", b"b") + b"--x--"), FAILED + "a boundary"),
        (
            form(part(b"a", b"\n--x\n" + DISPOSITION + b"model\n\nb"), MODEL),
            FAILED + "its bound",
        ),
        (form(b"--x\r\n" + DISPOSITION + b'"a"\r\n\r\n--x\r\n', MODEL), FAILED + "its boundary"),
        (form(MODEL, b"--x\r\nA: b\r\n\r\nother\r\n"), FAILED + "its content-disposition"),
        (form(MODEL, b"--x\r\n\r\nother\r\n"), FAILED + "the headers"),
        (form(part(b"a", b"", b"--x: b"), MODEL), FAILED + "its boundary stands inside of a part"),
        (form(part(b"a", b"", b" folded: 1"), MODEL), FAILED + "the headers of a part cannot"),
        (form(part(b"a", b"", b"A: b\nC: d"), MODEL), FAILED + "the headers of a part cannot"),
        (form(part(b"a", b"", DISPOSITION + b"model"), MODEL), FAILED + "the headers of a part"),
        (form(part(b"a", b"", *[b"A%d: b" % n for n in range(20)]), MODEL), FAILED + "the head"),
        (form(*[part(b"a", b"")] * 1001, MODEL), FAILED + "more than 1000 parts"),
    ],
)
def test_forms_that_could_be_read_in_two_ways(body: bytes, message: str):
    assert refusal(body).startswith(message)


@pytest.mark.parametrize(
    "disposition",
    [
        b'form-data; name="file"; name="model"',
        b"form-data; name=\"file\"; name*=utf-8''model",
        b'form-data; name="file"; name*0=model',
        b'form-data; name="file"; filename="\\\\"; name="model"',
        b'form-data; name="file"; filename="\\"; name="model"',
        b'form-data; name="fi\\"le"; name="model"',
        b'attachment; name="model"',
        b"form-data; name",
        b"form-data; name=",
        b'form-data; name="model',
        b'form-data name="model"',
        b"",
    ],
)
def test_parts_that_may_have_another_name(disposition: bytes):
    assert refusal(form(b"--x\r\nContent-Disposition: %b\r\n\r\n\r\n" % disposition, MODEL))


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        ("multipart/form-data", "missing boundary in content-type"),
        ("multipart/form-data; boundary=", FAILED + "its content-type"),
        ("multipart/form-data; boundary=y; boundary=x", FAILED + "its content-type says"),
        ("multipart/form-data; boundary=x; boundary*=y", FAILED + "its content-type says"),
        ("multipart/form-data; boundary=x, multipart/form-data; boundary=y", "failed to parse multipart form"),
        ("multipart/form-data; boundary=x; charset=utf-16", "the charset of a form must be utf-8"),
        ("multipart/form-data; boundary=" + "x" * 257, "bad boundary in content-type"),
        ("multipart/form-data; boundary=é", "bad boundary in content-type"),
        ("application/x-www-form-urlencoded", "expected multipart/form-data content-type"),
        ("multipart/mixed; boundary=x", "expected multipart/form-data content-type"),
        ("nonsense", "expected multipart/form-data content-type"),
    ],
)
def test_content_types(content_type: str, message: str):
    assert refusal(form(MODEL), content_type).startswith(message)


def test_the_longest_boundary():
    boundary = "y" * 256
    body = form(MODEL).replace(b"--x", b"--" + boundary.encode())
    assert read_multipart_head(f'multipart/form-data; boundary="{boundary}"; charset=UTF-8', body).model == "whisper"


pieces = st.sampled_from(
    [b"--x", b"--x--", b"\r\n", b"\n", b"\r", b"--", b"x", DISPOSITION, b'"model"', b'"file"', b"\r\n\r\n", b"a", b";",
     b'"', b"\\", b" ", b"filename=", b"name=", b"m\r\n--x\r\n", part(b"model", b"a"), part(b"file", b"b")]
)  # fmt: skip


@given(st.lists(pieces, max_size=12).map(b"".join))
def test_what_is_read_is_what_engines_read(middle: bytes):
    for body in (middle, form(MODEL, middle), form(middle), form(FILE, middle, MODEL)):
        with suppress(ApiError):
            assert engines_models(body) == [read_multipart_head(FORM, body).model.encode()]


def engines_models(body: bytes) -> list[bytes]:
    """All that the parser under most engines takes for a `model`."""
    found: list[bytes] = []
    state = {"name": b"", "field": b"", "value": b"", "data": b""}

    def header_end() -> None:
        if state["field"].lower() == b"content-disposition":
            state["name"] = parse_options_header(state["value"])[1].get(b"name", b"")
        state["field"] = state["value"] = b""

    def grow(what: str, data: bytes, start: int, end: int) -> None:
        state[what] += data[start:end]

    def part_end() -> None:
        if state["name"] == b"model":
            found.append(state["data"].strip())
        state["name"] = state["data"] = b""

    parser = MultipartParser(
        b"x",
        {
            "on_header_field": lambda *where: grow("field", *where),
            "on_header_value": lambda *where: grow("value", *where),
            "on_header_end": header_end,
            "on_part_data": lambda *where: grow("data", *where),
            "on_part_end": part_end,
        },
    )
    with suppress(FormParserError):
        parser.write(body)
        parser.finalize()
    return found


@given(st.binary(max_size=200), st.text(max_size=60))
def test_no_bytes_raise_anything_else(body: bytes, parameters: str):
    for content_type in (FORM, f"multipart/form-data;{parameters}", parameters):
        with suppress(ApiError):
            read_multipart_head(content_type, form(MODEL, body))
        with suppress(ApiError):
            read_multipart_head(content_type, body)
