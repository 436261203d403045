"""The query of a list: filters, page, fields. Mistakes are 400 and name the parameter.

    status, engine, owned_by, base, tag    repeated, or separated by commas: any of them
    label=key=value, label=key             repeated: all of them
    q        part of the id, in any case
    limit, after    a page: at most so many, with ids that sort after this one
    detail=basic|full, fields=a,b          what is shown; id, object, created and owned_by always are

Parameters that the list does not know are passed over, as OpenAI does.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from gateway_plugin.models.catalogue.facts import FACT_FIELDS, OPERATORS_FIELDS, ModelFacts, Status
from gateway_plugin.models.catalogue.figures import FIGURE_FIELDS
from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LIMIT = 10_000
"""Models of one page."""
MAX_ID_CHARACTERS = 512
"""Of a model's name in a path; engines' are shorter."""
_MAX_CHARACTERS = 256
"""Of a parameter."""
_MAX_PARAMETERS = 64
"""Of a query."""
_ALL_FIELDS = frozenset(FACT_FIELDS + FIGURE_FIELDS)
_BAD_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ONCE = frozenset({"q", "limit", "after", "detail"})


class Filter(NamedTuple):
    """Empty fields let everything through."""

    status: frozenset[str] = frozenset()
    engine: frozenset[str] = frozenset()
    owned_by: frozenset[str] = frozenset()
    base: frozenset[str] = frozenset()
    tag: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str | None], ...] = ()
    q: str = ""

    def admits(self, facts: ModelFacts) -> bool:
        """Whether a model passes."""
        return (
            (not self.status or facts.status.value in self.status)
            and (not self.engine or not self.engine.isdisjoint(facts.engines))
            and (not self.owned_by or facts.owned_by in self.owned_by)
            and (not self.base or facts.parent in self.base)
            and (not self.tag or not self.tag.isdisjoint(facts.tags))
            and self.q in facts.id.casefold()
            and all(_has_label(facts, key, value) for key, value in self.labels)
        )


NO_FILTER = Filter()


class ListQuery(NamedTuple):
    """Hashable: equal queries have equal pages."""

    filter: Filter = NO_FILTER
    limit: int | None = None
    """None: all."""
    after: str = ""
    fields: tuple[str, ...] = ()
    full: bool = False


class Shape(NamedTuple):
    """What is shown of a model."""

    fields: tuple[str, ...] = ()
    full: bool = False


@lru_cache(maxsize=512)
def parse_list(query_string: str) -> ListQuery:
    """The query of a list; raises ApiError 400."""
    said = _said(query_string)
    labels = tuple(_label(text) for text in said.get("label", []))
    names = {
        name: frozenset(part for text in said.get(name, []) for part in _parts(name, text))
        for name in ("status", "engine", "owned_by", "base", "tag")
    }
    for status in names["status"] - set(Status):
        raise _bad("status", f"no status {status!r}; allowed: {', '.join(Status)}")
    chosen = Filter(**names, labels=labels, q=_single(said, "q").casefold())
    return ListQuery(chosen, _limit(said), _after(said), *_shape(said))


@lru_cache(maxsize=512)
def parse_shape(query_string: str) -> Shape:
    """`detail` and `fields`; raises ApiError 400."""
    return _shape(_said(query_string))


def _said(query_string: str) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(
            query_string, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS, errors="surrogateescape"
        )
    except ValueError:
        raise _bad(None, f"more than {_MAX_PARAMETERS} parameters") from None
    said: dict[str, list[str]] = {}
    for name, text in pairs:
        said.setdefault(name, []).append(text)
    for name in _ONCE & said.keys():
        if len(said[name]) > 1:
            raise _bad(name, "it stands more than once")
    return said


def _parts(name: str, text: str) -> Iterable[str]:
    # Ids of models may hold commas.
    parts = [text] if name == "base" else text.split(",")
    for part in parts:
        _check_text(name, part)
        if not part:
            raise _bad(name, "it must not be empty")
    return parts


def _label(text: str) -> tuple[str, str | None]:
    _check_text("label", text)
    key, equals, value = text.partition("=")
    if not key:
        raise _bad("label", "allowed: key=value, or key")
    return key, value if equals else None


def _limit(said: dict[str, list[str]]) -> int | None:
    if "limit" not in said:
        return None
    text = said["limit"][0]
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_LIMIT)) and 1 <= int(text) <= MAX_LIMIT):
        raise _bad("limit", f"allowed: a number from 1 to {MAX_LIMIT}")
    return int(text)


def _after(said: dict[str, list[str]]) -> str:
    if "after" not in said:
        return ""
    text = said["after"][0]
    if not text or len(text) > MAX_ID_CHARACTERS or _BAD_TEXT.search(text):
        raise _bad("after", f"allowed: the id of a model, {MAX_ID_CHARACTERS} characters at most, such as last_id")
    return text


def _shape(said: dict[str, list[str]]) -> Shape:
    detail = _single(said, "detail") or "basic"
    if "detail" in said and said["detail"][0] not in ("basic", "full"):
        raise _bad("detail", "allowed: basic, full")
    fields = tuple(dict.fromkeys(part for text in said.get("fields", []) for part in text.split(",")))
    for name in fields:
        if name not in _ALL_FIELDS:
            _check_text("fields", name)
            known = ", ".join(sorted(_ALL_FIELDS - set(OPERATORS_FIELDS)))
            raise _bad("fields", f"no field {name!r}; allowed: {known}")
    return Shape(fields, detail == "full")


def _single(said: dict[str, list[str]], name: str) -> str:
    text = said.get(name, [""])[0]
    _check_text(name, text)
    return text


def _check_text(name: str, text: str) -> None:
    if len(text) > _MAX_CHARACTERS or _BAD_TEXT.search(text):
        raise _bad(name, f"allowed: at most {_MAX_CHARACTERS} characters, none of them control characters")


def _has_label(facts: ModelFacts, key: str, value: str | None) -> bool:
    return key in facts.labels and (value is None or value in facts.labels[key])


def _bad(name: str | None, why: str) -> ApiError:
    message = f"{name}: {why}" if name else why
    return ApiError(kinds.BAD_QUERY, message, param=name)
