"""A response that passes through the plugin: where no access log tells how it ended (`accounting: ext_proc`), and where
an alias is to stand in it instead of the model's name.

Its headers bring the status and the pod; its body, chunk by chunk and only when somebody pays for it, the tokens and
the time of the first one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway_plugin.endpoints.web_pages import ANSWER_HEADERS
from gateway_plugin.exchange.replies import CONTROL_HEADERS
from gateway_plugin.exchange.steps import Reply
from gateway_plugin.openai.rewriting import NameRestorer
from gateway_plugin.openai.usage import reader_for
from gateway_plugin.openai.usage_removal import UsageRemover
from protos import ext_proc
from protos.access_log import FinishedExchange
from protos.processing_modes import Mode
from ratelimit import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway_plugin.exchange.collaborators import Services
    from gateway_plugin.exchange.replies import Forward
    from gateway_plugin.models.catalogue.registry import Target
    from gateway_plugin.openai.usage import UsageReader
    from protos.ext_proc import ProcessingRequest

_WANTED = frozenset({":status", "content-type", "content-encoding"})
# Which web pages may read an answer is the gateway's to say: engines by default let all of them.
_REMOVED_HEADERS = (*CONTROL_HEADERS, *ANSWER_HEADERS)
_GO_ON = Reply(ext_proc.GO_ON_WITH_RESPONSE)


class Rewriter(Protocol):
    """What changes a body as it passes."""

    def feed(self, chunk: bytes, *, is_last: bool) -> bytes:
        """What may go on to the client now."""


class FollowedResponse:
    """One response, from its headers to its end. `tells_client`: of what was decided, in headers."""

    def __init__(
        self,
        clock: Callable[[], float],
        started_seconds: float,
        *,
        tokens_matter: bool,
        rewriters: Sequence[Rewriter] = (),
        tells_client: bool = True,
    ) -> None:
        self._clock = clock
        self._started_seconds = started_seconds
        self._tokens_matter = tokens_matter
        self._rewriters = rewriters
        self._tells_client = tells_client
        self._rewrites = False
        self._status = 0
        self.pod_address = ""
        """Who answers, as soon as that is known."""
        self._streamed = False
        self._complete = False
        self._reader: UsageReader | None = None
        self._first_byte_seconds: float | None = None
        self._bytes = 0

    def headers(self, message: ProcessingRequest, forward: Forward) -> Reply:
        """Tells the client what was decided; asks for the body when its tokens matter."""
        headers = ext_proc.response_headers_of(message, _WANTED)
        status = headers.get(":status", "")
        self._status = int(status) if status.isdecimal() else 0
        self.pod_address = ext_proc.upstream_address_of(message)
        self._streamed = headers.get("content-type", "").lower().startswith("text/event-stream")
        self._complete = ext_proc.response_ends_with_headers(message)
        reader = reader_for(headers.get("content-type", ""), headers.get("content-encoding", ""))
        if 200 <= self._status < 300 and not self._complete:
            self._reader = reader if self._tokens_matter else None
            self._rewrites = bool(self._rewriters) and reader is not None
        mode = Mode.STREAMED_RESPONSE if self._reader is not None or self._rewrites else None
        told = forward.headers_for_client(self.pod_address) if self._tells_client else {}
        removed = [name for name in _REMOVED_HEADERS if name not in told] if self._tells_client else []
        if self._rewrites:
            removed.append("content-length")  # it changes with the body
        return Reply(ext_proc.response_headers_reply(told, removed, mode=mode))

    def body(self, message: ProcessingRequest) -> Reply:
        """Reads the next chunk, and lets it pass."""
        chunk, self._complete = ext_proc.response_chunk_of(message)
        if chunk and self._first_byte_seconds is None:
            self._first_byte_seconds = self._clock() - self._started_seconds
        self._bytes += len(chunk)
        if self._reader is not None:
            self._reader.feed(chunk)
        if not self._rewrites:
            return _GO_ON
        written = chunk
        for rewriter in self._rewriters:
            written = rewriter.feed(written, is_last=self._complete)
        return _GO_ON if written == chunk else Reply(ext_proc.response_chunk_reply(written))

    def finished(self, forward: Forward) -> FinishedExchange:
        """What became of the exchange, which is over now. A body that nobody followed counts as complete.

        Envoy does not tell how often it tried; it goes through the candidates in order.
        """
        targets = tuple(pod.address for pod in forward.booking.pods) if forward.booking is not None else ()
        return FinishedExchange(
            charge_id=forward.charge_id,
            user=forward.user,
            source=forward.subject.address if isinstance(forward.subject, Source) else "",
            model=forward.model,
            status=self._status,
            # Who left before anything came back had asked the first of them.
            pod_address=self.pod_address or ("" if self._status or not targets else targets[0]),
            duration_seconds=self._clock() - self._started_seconds,
            ttft_seconds=self._first_byte_seconds if self._streamed else None,
            attempts=1 + targets.index(self.pod_address) if self.pod_address in targets else 1,
            client_aborted=not self._status or (self._reader is not None and not self._complete),
            response_bytes=self._bytes,
            streamed=self._streamed,
            targets=targets,
            reserved_tokens=forward.reserved_tokens,
            prompt_tokens_estimate=forward.prompt_tokens_estimate,
            uncounted=forward.uncounted,
            request_id=forward.request_id,
            strategy=forward.strategy,
            tokens=self._reader.tokens() if self._reader is not None else {},
            trace=forward.trace,
        )


def followed(
    services: Services, started_seconds: float, target: Target, forward: Forward, *, tokens_matter: bool
) -> FollowedResponse | None:
    """The response of a request that was sent on, where there is a reason to see it."""
    restores = target.restore_name and target.model != target.asked
    if not services.follows_responses and not restores:
        return None
    rewriters: list[Rewriter] = []
    if services.follows_responses and forward.added_usage:  # elsewhere Envoy itself takes it out
        rewriters.append(UsageRemover())
    if restores:
        rewriters.append(NameRestorer(target.model, target.asked))
    return FollowedResponse(
        services.clock,
        started_seconds,
        tokens_matter=services.follows_responses and tokens_matter,
        rewriters=rewriters,
        tells_client=services.follows_responses,
    )
