"""Label selectors, as Kubernetes writes them: which pods a request's `external-filter` admits.

    requirement, requirement, ...      all of them must hold
    key  !key                          the label exists, or does not
    key = value  key == value          the label has this value; no value means the empty one
    key != value                       the label is missing or has another value
    key in (a, b)  key notin (a, b)    as = and != with several values
    key > 1  key < 2                   the label is an integer, greater or less

The grammar is that of Kubernetes' parser: blanks are ignored, there are no quotes, `in` and `notin` may be keys and
values, the empty text admits every pod. Only one of its quirks is missing: a list that ends in an even number of commas
is read like any other. Clients write selectors, so texts and the number of requirements are bounded.
"""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from routing.spec import PodSpec

MAX_CHARACTERS = 1024
"""Of a selector in a header."""
# Each is evaluated for each candidate; nobody writes that many by hand.
MAX_REQUIREMENTS = 32
MAX_NAME_CHARACTERS = 63
"""Of a label's key, as Kubernetes."""
MAX_PREFIX_CHARACTERS = 253
"""Of a key's prefix, as Kubernetes."""
_MAX_INT64 = 2**63 - 1
"""What `Gt` and `Lt` compare, as Kubernetes."""

_TOKEN = re.compile(r"==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+")
_SYMBOLS = frozenset({"", "==", "!=", "=", "!", "(", ")", ",", "<", ">"})
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_DNS_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DNS_NAME = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*")

_shown = reprlib.Repr()
_shown.maxstring = 80


class SelectorError(ValueError):
    """What is wrong with a selector, and where."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label; `operator` is a key of the tests below."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels of a pod meet it."""
        return _TESTS[self.operator](labels.get(self.key), self.values)


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all be met."""

    requirements: tuple[Requirement, ...]

    @property
    def keys(self) -> frozenset[str]:
        """All labels it asks about."""
        return frozenset(requirement.key for requirement in self.requirements)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels of a pod meet all requirements."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def admits(self, pod: PodSpec) -> bool:
        """Whether the pod may be chosen."""
        return self.matches(pod.labels)


class PodFilter(Protocol):
    """Which pods a request may go to."""

    def admits(self, pod: PodSpec) -> bool:
        """Whether the pod may be chosen."""


@dataclass(frozen=True, slots=True)
class OnlyPod:
    """The one pod at an address."""

    address: str

    def admits(self, pod: PodSpec) -> bool:
        """Whether it is this one."""
        return pod.address == self.address


@lru_cache(maxsize=256)
def parse_selector(text: str) -> Selector:
    """The selector of a text; raises SelectorError."""
    if len(text) > MAX_CHARACTERS:
        raise SelectorError(f"{len(text)} characters, more than {MAX_CHARACTERS}")
    return Selector(_Parser(text).requirements())


def _integer(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if number <= _MAX_INT64 else None


def _compare(value: str | None, values: frozenset[str], sign: int) -> bool:
    found, (bound,) = _integer(value or ""), (_integer(text) for text in values)
    return found is not None and bound is not None and (found - bound) * sign > 0


_TESTS: dict[str, Callable[[str | None, frozenset[str]], bool]] = {
    "exists": lambda value, _: value is not None,
    "!": lambda value, _: value is None,
    "in": lambda value, values: value in values,
    "notin": lambda value, values: value not in values,
    ">": lambda value, values: _compare(value, values, 1),
    "<": lambda value, values: _compare(value, values, -1),
}
_OPERATORS = {"=": "in", "==": "in", "in": "in", "!=": "notin", "notin": "notin", ">": ">", "<": "<"}


class _Token(NamedTuple):
    """`text` is empty at the end of the selector; `at` counts characters from 1."""

    text: str
    at: int

    @property
    def is_word(self) -> bool:
        return self.text not in _SYMBOLS

    def error(self, expected: str) -> SelectorError:
        found = _shown.repr(self.text) if self.text else "the end"
        return SelectorError(f"at character {self.at}: found {found}, expected {expected}")


def _tokens(text: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        yield _Token(match[0], match.start() + 1)
    yield _Token("", len(text) + 1)


class _Parser:
    """Recursive descent with one token of lookahead."""

    def __init__(self, text: str) -> None:
        self._rest = _tokens(text)
        self._token = next(self._rest)

    def requirements(self) -> tuple[Requirement, ...]:
        if not self._token.text:
            return ()
        found = [self._requirement()]
        while self._accept(","):
            if len(found) == MAX_REQUIREMENTS:
                raise self._token.error(f"the end: a selector has at most {MAX_REQUIREMENTS} requirements")
            found.append(self._requirement())
        if self._token.text:
            raise self._token.error("',' or the end")
        return tuple(found)

    def _requirement(self) -> Requirement:
        absent = self._accept("!")
        key = self._key()
        if absent:
            return Requirement(key, "!")
        if self._token.text in ("", ","):
            return Requirement(key, "exists")
        if self._token.text not in _OPERATORS:
            raise self._token.error("one of = == != in notin > < after a key")
        sign = self._take().text
        values = self._list() if sign in ("in", "notin") else frozenset({self._value(number=sign in (">", "<"))})
        return Requirement(key, _OPERATORS[sign], values)

    def _list(self) -> frozenset[str]:
        self._expect("(")
        values = {self._value()}
        while self._accept(","):
            values.add(self._value())
        self._expect(")")
        return frozenset(values)

    def _key(self) -> str:
        token = self._take()
        prefix, slash, name = token.text.rpartition("/")
        if not token.is_word or not _is_name(name):
            raise token.error("a label key: [prefix/]name, the name at most 63 of A-Z a-z 0-9 - _ .")
        if slash and not (len(prefix) <= MAX_PREFIX_CHARACTERS and _DNS_NAME.fullmatch(prefix)):
            raise token.error("a label key: its prefix must be a DNS name of at most 253 characters")
        return token.text

    def _value(self, *, number: bool = False) -> str:
        token = self._token
        text = self._take().text if token.is_word else ""
        if number and _integer(text) is None:
            raise token.error("an integer")
        if text and not _is_name(text):
            raise token.error("a label value: at most 63 of A-Z a-z 0-9 - _ . (letters or digits at both ends)")
        return text

    def _take(self) -> _Token:
        token = self._token
        self._token = next(self._rest, token)
        return token

    def _accept(self, symbol: str) -> bool:
        if self._token.text != symbol:
            return False
        self._take()
        return True

    def _expect(self, symbol: str) -> None:
        if not self._accept(symbol):
            raise self._token.error(repr(symbol))


def _is_name(text: str) -> bool:
    return len(text) <= MAX_NAME_CHARACTERS and _NAME.fullmatch(text) is not None
