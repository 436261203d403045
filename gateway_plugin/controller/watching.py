"""kopf: watches every kind that there is, and those that appear later, and wakes the reconciler.

Only `on.event` handlers are used: others would write annotations and finalizers into people's workloads. kopf does not
say what was deleted while a watch was broken; whatever it lists a second time therefore asks for a complete reading.
It runs in a thread and an event loop of its own, since it ends every task of its loop together with itself.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from itertools import chain, repeat
from typing import TYPE_CHECKING

import kopf

from gateway_plugin.controller.kinds import WATCHED, ObjectKind
from gateway_plugin.controller.workloads import ref_of
from gateway_plugin.settings.start_error import StartError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from gateway_plugin.controller.reconciler import Reconciler
    from gateway_plugin.controller.route_client import KubeClient

# The server ends a watch after this long, and the next one begins where it ended.
_WATCH_SECONDS = 300
# A connection that is dead without saying so is found by its silence: bookmarks come about once a minute.
_SILENCE_SECONDS = 330
_CONNECT_SECONDS = 10.0
_REQUEST_SECONDS = 30.0


async def watch(client: KubeClient, reconciler: Reconciler, stopping: asyncio.Event) -> None:
    """Runs kopf until `stopping` is set; raises what ends it otherwise."""
    _quieten()
    stop = threading.Event()
    registry = _registry(client, reconciler, asyncio.get_running_loop())
    operator = asyncio.create_task(asyncio.to_thread(_operate, registry, reconciler.namespaces, stop))
    waiter = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([operator, waiter], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        waiter.cancel()
        await _ended(operator)


async def _ended(operator: asyncio.Task[None]) -> None:
    try:
        await operator
    except Exception as error:
        raise StartError(f"kopf has ended: {type(error).__name__}: {error}") from error


def _operate(registry: kopf.OperatorRegistry, namespaces: tuple[str, ...], stop: threading.Event) -> None:
    asyncio.run(
        kopf.operator(
            registry=registry,
            settings=_settings(namespaces),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=list(namespaces),
            stop_flag=stop,
        )
    )


def _registry(client: KubeClient, reconciler: Reconciler, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry, id="login", retries=3)(_login(client))
    for kind in WATCHED:
        if kind.name not in reconciler.store.unreadable:
            handler = _handler(reconciler, kind, loop)
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.plural)(handler)
    return registry


def _login(client: KubeClient) -> Callable[..., Awaitable[kopf.ConnectionInfo]]:
    async def login(**_: object) -> kopf.ConnectionInfo:
        # Asked again when a token is refused: an account's token is read anew then.
        known = client.configuration
        written = await known.get_api_key_with_prefix("BearerToken", "authorization") or ""
        scheme, _blank, token = written.rpartition(" ")
        return kopf.ConnectionInfo(
            server=known.host,
            ca_path=known.ssl_ca_cert,
            insecure=not known.verify_ssl,
            username=known.username or None,
            password=known.password or None,
            scheme=scheme.capitalize() or None,
            token=token.strip() or None,
            certificate_path=known.cert_file,
            private_key_path=known.key_file,
        )

    return login


def _handler(
    reconciler: Reconciler, kind: ObjectKind, loop: asyncio.AbstractEventLoop
) -> Callable[..., Awaitable[None]]:
    def apply(event: kopf.RawEvent) -> None:
        raw, store = event["object"], reconciler.store
        changed = store.drop(ref_of(kind, raw)) if event["type"] == "DELETED" else store.put(kind, raw)
        is_listed = event["type"] is None
        if changed or is_listed:
            reconciler.wake(resync=is_listed)

    async def on_event(event: kopf.RawEvent, **_: object) -> None:
        loop.call_soon_threadsafe(apply, event)

    return on_event


class _Forever:
    """Waits between attempts, in seconds, without an end: what kopf gives up on would end the process."""

    def __iter__(self) -> Iterator[float]:
        return chain((1, 2, 4, 8, 16, 32), repeat(60))


def _settings(namespaces: tuple[str, ...]) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # With namespaces that are named, nothing of the cluster as a whole need be readable; kinds that appear later are
    # found by complete readings then.
    settings.scanning.disabled = bool(namespaces)
    settings.networking.error_backoffs = _Forever()
    settings.posting.enabled = False
    settings.watching.server_timeout = _WATCH_SECONDS
    settings.watching.inactivity_timeout = _SILENCE_SECONDS
    settings.watching.connect_timeout = _CONNECT_SECONDS
    settings.networking.request_timeout = _REQUEST_SECONDS
    return settings


def _quieten() -> None:
    """It reports its own state at info, and as warnings that it has a thread and that some kinds are not installed."""
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        logging.getLogger("kopf").setLevel(logging.WARNING)
        for part in ("running", "observation"):
            logging.getLogger(f"kopf._core.reactor.{part}").setLevel(logging.ERROR)
