"""The one table of endpoints: which paths exist for clients, and what each of them means.

Envoy's routes, the controller's HTTPRoutes, the rules of the exchange and docs/endpoints.md are made from it. What is
not in it does not exist: the gateway answers 404 and no pod hears of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class BodyKind(Enum):
    """The form of a request body."""

    # An Enum's own is a Python function, and every request looks up its kind in tables.
    __hash__ = object.__hash__

    CHAT = "chat"
    COMPLETION = "completion"
    EMBEDDING = "embedding"
    """A text in `input`, or messages."""
    RESPONSES = "responses"
    RERANK = "rerank"
    CLASSIFY = "classify"
    SCORE = "score"
    """Pairs of texts, under names that differ between engines: all of the body is taken for them."""
    PLAIN = "plain"
    """JSON of which only the model matters here."""
    MULTIPART = "multipart"
    ANY = "any"
    """Whatever the engine takes: JSON or a form that names the model, or else the header `model` does."""
    NONE = "none"
    """There is none: the header `model` names the model."""


class Cost(Enum):
    """What a request costs its user; all but NOTHING count as one request."""

    __hash__ = object.__hash__

    GENERATION = "tokens of prompt and answer"
    PROMPT = "tokens of the prompt"
    REQUEST = "one request"
    NOTHING = "nothing"


class UsageReading(Enum):
    """How the tokens of an answer are learned."""

    ASKED = "in `usage`; of a stream only when `stream_options` asks for it"
    TOLD = "in `usage`"
    NONE = "not told"


class ApiFamily(Enum):
    """Whose clients speak it, and so the form of errors."""

    OPENAI = "OpenAI"
    ANTHROPIC = "Anthropic"
    RERANK = "Cohere"


class Answerer(Enum):
    """Who answers."""

    POD = "a pod"
    GATEWAY = "the gateway"
    """To whom it knows, where it asks who that is."""
    HEALTH = "the gateway, to everybody"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the table. A path ends in an id, or has one inside, where it says `{id}`."""

    path: str
    body: BodyKind
    cost: Cost
    usage: UsageReading = UsageReading.NONE
    family: ApiFamily = ApiFamily.OPENAI
    answerer: Answerer = Answerer.POD
    methods: tuple[str, ...] = ("POST",)
    streams: bool = False
    """Whether the answer may be a stream."""

    @property
    def is_exact(self) -> bool:
        """Whether the path has no id in it."""
        return "{" not in self.path


_GET = ("GET", "HEAD")


def _generates(path: str, body: BodyKind, usage: UsageReading, family: ApiFamily = ApiFamily.OPENAI) -> Endpoint:
    return Endpoint(path, body, Cost.GENERATION, usage, family, streams=True)


def _reads(path: str, body: BodyKind, family: ApiFamily = ApiFamily.OPENAI) -> Endpoint:
    return Endpoint(path, body, Cost.PROMPT, UsageReading.TOLD, family)


def _counts(
    path: str,
    body: BodyKind,
    *,
    family: ApiFamily = ApiFamily.OPENAI,
    methods: tuple[str, ...] = ("POST",),
    streams: bool = False,
) -> Endpoint:
    return Endpoint(path, body, Cost.REQUEST, family=family, methods=methods, streams=streams)


def _of_the_gateway(path: str, answerer: Answerer, *, streams: bool = False) -> Endpoint:
    return Endpoint(path, BodyKind.NONE, Cost.NOTHING, answerer=answerer, methods=_GET, streams=streams)


EVENTS_PATH = "/v1/models/events"
ENDPOINTS: tuple[Endpoint, ...] = (
    _generates("/v1/chat/completions", BodyKind.CHAT, UsageReading.ASKED),
    _generates("/v1/completions", BodyKind.COMPLETION, UsageReading.ASKED),
    _generates("/v1/responses", BodyKind.RESPONSES, UsageReading.TOLD),
    _counts("/v1/responses/{id}", BodyKind.NONE, methods=(*_GET, "DELETE"), streams=True),
    _counts("/v1/responses/{id}/cancel", BodyKind.NONE),
    _generates("/v1/messages", BodyKind.CHAT, UsageReading.TOLD, ApiFamily.ANTHROPIC),
    _counts("/v1/messages/count_tokens", BodyKind.CHAT, family=ApiFamily.ANTHROPIC),
    _counts("/v1/chat/completions/render", BodyKind.CHAT),
    _counts("/v1/completions/render", BodyKind.COMPLETION),
    _counts("/tokenize", BodyKind.PLAIN),
    _counts("/v1/tokenize", BodyKind.PLAIN),
    _counts("/detokenize", BodyKind.PLAIN),
    _counts("/v1/detokenize", BodyKind.PLAIN),
    _reads("/v1/embeddings", BodyKind.EMBEDDING),
    _reads("/pooling", BodyKind.EMBEDDING),
    _reads("/v1/pooling", BodyKind.EMBEDDING),
    _reads("/classify", BodyKind.CLASSIFY),
    _reads("/v1/classify", BodyKind.CLASSIFY),
    _reads("/score", BodyKind.SCORE),
    _reads("/v1/score", BodyKind.SCORE),
    _reads("/rerank", BodyKind.RERANK, ApiFamily.RERANK),
    _reads("/v1/rerank", BodyKind.RERANK, ApiFamily.RERANK),
    _reads("/v2/rerank", BodyKind.RERANK, ApiFamily.RERANK),
    replace(_reads("/v1/audio/transcriptions", BodyKind.MULTIPART), streams=True),
    replace(_reads("/v1/audio/translations", BodyKind.MULTIPART), streams=True),
    replace(_reads("/v1/audio/speech", BodyKind.EMBEDDING), usage=UsageReading.NONE, streams=True),
    _counts("/v1/images/generations", BodyKind.PLAIN),
    _counts("/v1/images/edits", BodyKind.MULTIPART),
    _counts("/v1/video/generations", BodyKind.PLAIN),
    _of_the_gateway("/v1/models", Answerer.GATEWAY),
    _of_the_gateway(EVENTS_PATH, Answerer.GATEWAY, streams=True),
    _of_the_gateway("/v1/models/{id}", Answerer.GATEWAY),
    _of_the_gateway("/health", Answerer.HEALTH),
    _of_the_gateway("/healthz", Answerer.HEALTH),
)
OPEN_PATHS = frozenset(row.path for row in ENDPOINTS if row.answerer is Answerer.HEALTH)
ID_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]*"
"""What engines make, and nothing that a path could be bent with; Python and RE2 read it alike."""
_ANTHROPIC_PATHS = "/v1/messages/"
_MAX_CHARACTERS = 1024
"""Of a path that is looked at: no endpoint's is near it."""
_MODELS = "/v1/models/"
"""Names of models have slashes in them; whatever follows is one."""


class EndpointTable:
    """The endpoints of one gateway: those above, and the exact paths that its operator adds."""

    def __init__(self, extra_paths: Iterable[str] = ()) -> None:
        added = (_counts(path, BodyKind.ANY, methods=(*_GET, "POST"), streams=True) for path in extra_paths)
        self._rows = (*ENDPOINTS, *added)
        exact = {row.path: row for row in self._rows if row.is_exact}
        self.exact = exact.get
        """The row of a path that is written as in the table: one look-up, enough for nearly all requests."""
        self._patterns = [(re.compile(pattern_of(row)), row) for row in self._rows if not row.is_exact]

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._rows)

    def find(self, path: str) -> Endpoint | None:
        """The row of any path, with its query and with slashes at its end."""
        bare = path.partition("?")[0].rstrip("/")
        found = self.exact(bare)
        if found is not None or len(bare) > _MAX_CHARACTERS:
            return found
        return next((row for pattern, row in self._patterns if pattern.fullmatch(bare)), None)

    def family_of(self, path: str) -> ApiFamily:
        """Whose form an error takes on this path; what does not exist below another's path is taken for theirs, too."""
        row = self.find(path)
        if row is not None:
            return row.family
        return ApiFamily.ANTHROPIC if path.startswith(_ANTHROPIC_PATHS) else ApiFamily.OPENAI

    def patterns(self, max_characters: int = 1024) -> list[str]:
        """The paths that pods answer, as regular expressions for Envoy's routes, none longer than HTTPRoutes take."""
        found: list[str] = []
        for row in self._rows:
            if row.answerer is Answerer.POD:
                pattern = pattern_of(row)
                if found and len(found[-1]) + 1 + len(pattern) <= max_characters:
                    found[-1] += f"|{pattern}"
                else:
                    found.append(pattern)
        return found


def pattern_of(row: Endpoint) -> str:
    """The paths of a row as a regular expression, for Python and for RE2."""
    name = ".+" if row.path.startswith(_MODELS) else ID_PATTERN
    return row.path.replace(".", r"\.").replace("{id}", name)


def without_trailing_slash(path: str) -> str:
    """The path as engines know it, query kept: "/v1/completions/?a=1" becomes "/v1/completions?a=1"."""
    bare, mark, query = path.partition("?")
    return bare.rstrip("/") + mark + query
