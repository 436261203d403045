"""`python -m benchmarks.exchange_cost [--limits valkey] [--profile body]`: CPU of a request inside the plugin, by part.

The whole plugin in this process, as `serve` builds it, without sockets to Envoy: batches of 32 open calls get Envoy's
two messages, end, and come back as one batch of its access log. Parts are what the caller of each costs, in CPU time of
this process (Valkey is one of its own), median of the repeats. `--profile` shows where a part spends it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import gc
import pstats
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType, HTTPAccessLogEntry
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.load import USERS, Load
from benchmarks.load_worker import request_of
from benchmarks.results import Figure, Result, machine, today, write
from gateway_plugin.app.assembly import Assembly
from gateway_plugin.settings.settings import Settings
from gateway_plugin.tools.chain.valkey import Valkey
from protos.ext_proc import METADATA_NAMESPACE, ProcessingRequest, ProcessingResponse
from ratelimit import UserRecord
from routing.spec import ClusterState, PodSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway_plugin.grpc.calls import CallHandler

OPEN_CALLS = 32
PARTS = ("headers", "body", "end", "access log")
_HOST = "127.0.0.1"
_HEADERS = {
    ":authority": "gateway",
    ":path": "/v1/chat/completions",
    ":method": "POST",
    ":scheme": "http",
    "user-agent": "OpenAI/Python 1.99.0",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "authorization": "Bearer sk-0123456789abcdef0123456789abcdef",
    "content-type": "application/json",
    "content-length": "1200",
    "x-forwarded-for": "10.0.0.9",
    "x-forwarded-proto": "http",
    "x-envoy-internal": "true",
    "x-request-id": "5a3c7e84-7f2e-4a3f-9d6b-0c4a8e2f1d17",
}


class Envoy:
    """The end of a call that Envoy would hold."""

    traceparent = ""
    fingerprint = b""

    def __init__(self) -> None:
        self.replies: list[bytes] = []
        self.answered = asyncio.Event()

    def send(self, message: bytes) -> None:
        """As `calls.Call`."""
        self.replies.append(message)
        if len(self.replies) == 2:
            self.answered.set()

    def finish(self, status: int = 0, text: str = "") -> None:
        """As `calls.Call`; no request here ends that way."""
        raise AssertionError(f"finished with {status}: {text}")


class Bench:
    """One plugin, and what it costs it to serve `OPEN_CALLS` requests at once."""

    def __init__(self, app: Assembly, pods: tuple[PodSpec, ...], *, with_user: bool, stream: bool) -> None:
        self._app = app
        self._pods = pods
        self._begin = next(iter(app.processor.methods().values()))
        self._log = next(iter(app.access_log.methods().values()))(Envoy())
        self._requests = [messages_of(number, with_user=with_user, stream=stream) for number in range(OPEN_CALLS)]
        self._stream = stream
        self._row = 0

    def poll(self) -> None:
        """One pod tells its metrics: about as often, beside the requests, as scrapes come at 2,000 requests/s."""
        self._row = (self._row + 1) % len(self._pods)
        row = self._app.pods.row_of(self._pods[self._row].address)
        assert row is not None
        values = {"running_requests": 3.0, "waiting_requests": 0.0, "kv_usage_ratio": 0.2, "kv_capacity_tokens": 4e5}
        self._app.pods.polled(row, self._app.pods.incarnation(row), values)

    async def batch(self, profiles: dict[str, cProfile.Profile]) -> list[float]:
        """CPU seconds of each part."""
        self.poll()
        envoys = [Envoy() for _ in self._requests]
        spent: list[float] = []
        with _measured(spent, profiles.get("headers")):
            calls = [self._begin(envoy) for envoy in envoys]
            heard = [call.received(headers) for call, (headers, _) in zip(calls, self._requests, strict=True)]
            for busy in heard:
                if busy is not None:  # a user whom nobody has asked the store for yet: Envoy sends no body before
                    await busy
        with _measured(spent, profiles.get("body")):
            for call, (_, body) in zip(calls, self._requests, strict=True):
                call.received(body)
            for envoy in envoys:
                await envoy.answered.wait()
        log = _log_of(envoys, stream=self._stream)
        with _measured(spent, profiles.get("end")):
            _end(calls)
        with _measured(spent, profiles.get("access log")):
            self._log.received(log)
            await self._app.access_log.flush(5.0)
        return spent


def _end(calls: list[CallHandler]) -> None:
    for call in calls:
        call.ended()


@contextlib.contextmanager
def _measured(spent: list[float], profile: cProfile.Profile | None) -> Iterator[None]:
    began = time.process_time()
    if profile is not None:
        profile.enable()
    yield
    if profile is not None:
        profile.disable()
    spent.append(time.process_time() - began)


def messages_of(number: int, *, with_user: bool, stream: bool) -> tuple[bytes, bytes]:
    """What Envoy sends of one request: its headers, its body."""
    headers, content = ProcessingRequest(), ProcessingRequest()
    values = _HEADERS | ({"user": f"user-{number % USERS}"} if with_user else {})
    for name, value in values.items():
        headers.request_headers.headers.headers.add(key=name, raw_value=value.encode())
    content.request_body.body = request_of(Load(port=0, requests=1, stream=stream), number).partition(b"\r\n\r\n")[2]
    content.request_body.end_of_stream = True
    return headers.SerializeToString(), content.SerializeToString()


def _log_of(envoys: list[Envoy], *, stream: bool) -> bytes:
    """What Envoy logs of these requests when the first candidate has answered each."""
    message = StreamAccessLogsMessage()
    for envoy in envoys:
        reply = ProcessingResponse.FromString(envoy.replies[1])
        entry: HTTPAccessLogEntry = message.http_logs.log_entry.add()
        common = entry.common_properties
        metadata = reply.dynamic_metadata.fields[METADATA_NAMESPACE].struct_value
        common.metadata.filter_metadata[METADATA_NAMESPACE].CopyFrom(metadata)
        usage = common.metadata.filter_metadata["gateway_plugin.usage"]
        usage.update({"tokens": {"prompt_tokens": 300, "completion_tokens": 128, "total_tokens": 428}})
        if stream:
            usage.update({"first_body_at_ms": 12})
        address, _, port = metadata.fields["targets"].string_value.split(",")[0].rpartition(":")
        common.upstream_remote_address.socket_address.address = address
        common.upstream_remote_address.socket_address.port_value = int(port)
        common.access_log_type = AccessLogType.DownstreamEnd
        common.upstream_request_attempt_count = 1
        common.duration.nanos = common.time_to_last_downstream_tx_byte.nanos = 15_000_000
        common.time_to_first_upstream_rx_byte.nanos = 10_000_000
        entry.request.request_headers_bytes, entry.request.request_body_bytes = 600, 1200
        entry.request.path, entry.request.authority = _HEADERS[":path"], _HEADERS[":authority"]
        entry.response.response_code.value = 200
        entry.response.response_body_bytes = 1200
        entry.response.response_code_details = "via_upstream"
    return bytes(message.SerializeToString())


async def measure(arguments: argparse.Namespace, profiles: dict[str, cProfile.Profile]) -> list[list[float]]:
    """Microseconds of a request by part, per repeat."""
    with contextlib.ExitStack() as stack:
        redis_url = ""
        if arguments.limits == "valkey":
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            redis_url = stack.enter_context(Valkey(directory)).url
        # Pods are told to it directly; the file is never read.
        settings = {
            "pods": {"endpoints_file": "none"},
            "redis": {"url": redis_url, "timeout_seconds": 5},
            "routing": {"default_strategy": arguments.strategy},
            "users": {"limiter_timeout_seconds": 5},
        }
        app = Assembly(Settings.model_validate(settings))
        pods = tuple(PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m",), uid=str(i)) for i in range(arguments.pods))
        app.models.known.discovered(ClusterState(pods, frozenset()))
        for number in range(USERS):
            await app.limiter.store.create(UserRecord(f"user-{number}", rpm=10**9, tpm=10**12))
        bench = Bench(app, pods, with_user=arguments.limits != "none", stream=arguments.stream)
        batches = arguments.calls // OPEN_CALLS
        for _ in range(batches // 4):
            await bench.batch({})
        gc.collect()
        gc.freeze()  # as the service does
        repeats = []
        for _ in track(range(arguments.repeats), description="measuring", transient=True):
            spent = [await bench.batch(profiles) for _ in range(batches)]
            repeats.append([sum(part) / batches / OPEN_CALLS * 1e6 for part in zip(*spent, strict=True)])
        await app.limiter.close()
        return repeats


def figures_of(repeats: list[list[float]]) -> list[Figure]:
    """Each part, and their sum."""
    parts = [Figure(part, "us", tuple([one[at] for one in repeats])) for at, part in enumerate(PARTS)]
    return [*parts, Figure("whole", "us", tuple(map(sum, repeats)))]


def main() -> None:
    """Prints one table, or a profile; writes the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exchange_cost")
    parser.add_argument("--strategy", default="prefix-cache-and-load")
    parser.add_argument("--pods", type=int, default=4)
    parser.add_argument("--limits", choices=("none", "memory", "valkey"), default="none")
    parser.add_argument("--stream", action="store_true", help="requests for streams, whose first tokens teach")
    parser.add_argument("--calls", type=int, default=8000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a smoke run")
    parser.add_argument("--profile", choices=PARTS, help="show where this part spends its time")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.calls, arguments.repeats = 320, 1
    profiles = {arguments.profile: cProfile.Profile()} if arguments.profile else {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        repeats = runner.run(measure(arguments, profiles))
    for profile in profiles.values():
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    what = f"{arguments.strategy}, {arguments.pods} pods, limits: {arguments.limits}{', streams' * arguments.stream}"
    figures = figures_of(repeats)
    table = Table("part", "CPU us/request", title=what, show_edge=False)
    for figure in figures:
        table.add_row(figure.path, figure.spread.show(1))
    Console().print(table)
    if not profiles:
        result = Result(name="exchange_cost", machine=machine(), load=what, repeats=len(repeats), figures=figures)
        write(result, arguments.out or today())


if __name__ == "__main__":
    main()
