"""The replies of an exchange, built from what it has decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.extproc.steps import Reply
from protos import ext_proc
from protos.ext_proc import Mode

if TYPE_CHECKING:
    from gateway_plugin.openai.errors import ApiError
    from protos.encoding import Json
    from routing.router import Booking

# Headers by which Envoy and the pods obey the gateway: a client's own never get past it.
CONTROL_HEADERS = ("target-pod", "target-pod-ip")
# Usage is read from the response's text as it passes through Envoy, so it must not be compressed.
REMOVED_HEADERS = (*CONTROL_HEADERS, "accept-encoding")
_WENT_THROUGH = {"x-went-into-req-headers": "true"}

ASK_FOR_BODY = Reply(ext_proc.headers_reply(_WENT_THROUGH, REMOVED_HEADERS, mode=Mode.BUFFERED_BODY))
ASK_FOR_BODY_AND_RESPONSE = Reply(
    ext_proc.headers_reply(_WENT_THROUGH, REMOVED_HEADERS, mode=Mode.BUFFERED_BODY_AND_RESPONSE)
)


class Forward(msgspec.Struct):
    """Everything that goes along with a request that is sent on to a pod."""

    model: str
    request_id: str
    charge_id: str
    user: str = ""
    new_path: str = ""
    strategy: str = ""
    booking: Booking | None = None
    reserved_tokens: int = 0
    prompt_tokens_estimate: int = 0
    response_headers: dict[str, str] = msgspec.field(default_factory=dict)
    removed_headers: tuple[str, ...] = ()
    new_body: bytes | None = None
    exposes_pod: bool = True
    """Whether the client is told which pod served it."""
    route: str = ""
    """The model whose route in Envoy leads to its pods, where it has none of its own."""

    def reply(self, *, to_body: bool, mode: Mode) -> Reply:
        """To the body message, or to the headers of a request whose body nobody needs; then `mode` is what follows."""
        set_headers = self._set_headers()
        if to_body:
            return Reply(ext_proc.body_reply(set_headers, self.removed_headers, self._metadata(), self.new_body))
        removed = [name for name in (*REMOVED_HEADERS, *self.removed_headers) if name not in set_headers]
        metadata = self._metadata()
        message = ext_proc.headers_reply(_WENT_THROUGH | set_headers, removed, mode=mode, metadata=metadata)
        return Reply(message)

    def _set_headers(self) -> dict[str, str]:
        headers = {"model": self.route or self.model, "x-request-id": self.request_id}
        if self.new_path:
            headers[":path"] = self.new_path
        if self.booking is not None:
            headers["routing-strategy"] = self.strategy
            headers["target-pod"] = ",".join(pod.address for pod in self.booking.pods)
        return headers

    def headers_for_client(self, pod_address: str) -> dict[str, str]:
        """What the client is told of the decision, and of the pod that answers."""
        headers = {**_WENT_THROUGH, "request-id": self.request_id, **self.response_headers}
        if self.booking is None:
            return headers
        headers["routing-strategy"] = self.strategy
        if pod_address and self.exposes_pod:
            headers["target-pod-ip"] = pod_address
            name = next((pod.name for pod in self.booking.pods if pod.address == pod_address), "")
            headers |= {"target-pod": name} if name else {}
        return headers

    def _metadata(self) -> dict[str, Json]:
        metadata: dict[str, Json] = {
            "request_id": self.request_id,
            "user": self.user,
            "model": self.model,
            "charge_id": self.charge_id,
        }
        if self.user:
            metadata["reserved_tokens"] = self.reserved_tokens
            metadata["prompt_tokens_estimate"] = self.prompt_tokens_estimate
        if self.booking is not None:
            metadata["strategy"] = self.strategy
            metadata["targets"] = ",".join(pod.address for pod in self.booking.pods)
            metadata["pods"] = {pod.address: pod.name for pod in self.booking.pods}
        if not self.exposes_pod:
            metadata["hide_pod"] = True
        if self.response_headers:
            metadata["headers"] = self.response_headers
        return metadata


def pass_through(removed_headers: tuple[str, ...]) -> Reply:
    """To a request that is none of the gateway's business."""
    return Reply(ext_proc.headers_reply({}, (*CONTROL_HEADERS, *removed_headers)), final=True)


def rejection(error: ApiError) -> Reply:
    """The answer that the gateway gives instead of a pod's."""
    headers = {"content-type": "application/json", **error.headers}
    details = f"gateway_plugin_{error.reason}"
    return Reply(ext_proc.immediate_reply(error.status, headers, error.body, details), final=True)
