"""What exchanges decide with, and how much one process takes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway_plugin.exchange.intent.request import Planner
from gateway_plugin.exchange.intent.request_rules import wanted_headers
from gateway_plugin.exchange.uploads import UploadBounds
from gateway_plugin.metrics.stories import Stories
from gateway_plugin.models.catalogue.registry import PlainNames
from gateway_plugin.settings.engine_keys import EngineKeys

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.exchange.intent.request_rules import Rules
    from gateway_plugin.metrics.families import Metrics
    from gateway_plugin.metrics.tracing import Tracing
    from gateway_plugin.models.catalogue.registry import Names
    from ratelimit import Decision, Subject
    from routing.router import Router


TRACEPARENT = "traceparent"
"""The header of W3C's Trace Context."""
_NO_UPLOAD_BOUNDS = UploadBounds()


@dataclass(frozen=True, slots=True)
class Services:
    """What an exchange decides with; shared by all exchanges of a process."""

    router: Router
    rules: Rules
    metrics: Metrics
    new_id: Callable[[], str]
    clock: Callable[[], float]
    refusal: Callable[[Subject, str], Decision | None] | None = None
    """A refusal of a subject (for a model) that still holds, without asking anybody; None: nobody remembers any."""
    is_known: Callable[[str], bool] | None = None
    """Whether a user was heard of; of others it is asked whether they exist before their bodies are. None: nobody can
    be asked, or `refusal` knows."""
    listeners_refusal: Callable[[str], str] | None = None
    """Why no client of a source may listen to events now, so that floods of such requests end here; empty: it may."""
    may_hold: bool = False
    """Whether requests may wait for the first pod of a model that has been scaled to zero."""
    may_wait: bool = False
    """Whether requests may wait for a pod with room."""
    outcomes_are_told: bool = True
    """False when nobody will tell how exchanges ended."""
    follows_responses: bool = False
    """Whether the exchange itself tells it: responses are seen here, because there is no access log."""
    stories: Stories = field(default_factory=Stories)
    """What is remembered of each request."""
    tracing: Tracing | None = None
    """Of requests; None: nobody traces."""
    names: Names = field(default_factory=PlainNames)
    """Aliases and canaries."""
    engine_keys: EngineKeys = field(default_factory=EngineKeys)
    engines_have_keys: bool = field(init=False)
    planner: Planner = field(init=False)
    wanted_headers: frozenset[str] = field(init=False)
    """Of requests, as `ext_proc.request_headers_of` wants them."""

    def use_default_strategy(self, strategy: str) -> None:
        """For requests that name none, from now on; one that the router knows, or empty."""
        object.__setattr__(self.rules, "default_strategy", strategy)
        self.planner.forget()

    def __post_init__(self) -> None:
        have_keys = bool(self.engine_keys)
        object.__setattr__(self, "engines_have_keys", have_keys)
        wanted = wanted_headers(self.rules, hides_credentials=have_keys)
        wanted |= frozenset() if self.tracing is None else {TRACEPARENT}
        object.__setattr__(self, "wanted_headers", wanted)
        object.__setattr__(self, "planner", Planner(self.rules, self.router))


@dataclass(frozen=True, slots=True)
class ProcessorBounds:
    """How much one process takes on; 0 is no bound."""

    max_exchanges: int = 0
    uploads: UploadBounds = _NO_UPLOAD_BOUNDS
    """Of exchanges whose bodies are still on their way; these are not counted above."""
    unpacked_bytes: int = 0
    """Of bodies that came compressed, until it is decided where they go."""
    max_queue_length: int = 0
    """Requests of one model that wait for a pod with room; 0: none may wait."""
    max_wait_seconds: float = 2.0
    max_held_requests: int = 0
    """Of one model that wait for its first pod; 0: none may wait."""
    max_held_bytes: int = 0
    max_held_seconds: float = 300.0
    ends_calls: bool = False
    """End the gRPC stream with the reply and let the access log release the pod, instead of holding the stream."""
