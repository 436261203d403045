"""Which pod is about to compute which prompt: told to other replicas, so that they find it in that pod's cache, too.

A chat's next turn comes to any replica. One that did not know where the turns before went would send it to a pod that
has to compute all of it again: measured in virtual time, two replicas lose half of the cache hits, four most of them.
News are told when a pod is chosen, as one batch a turn, in a short stream that all read; a replica that starts reads
what is still there. Every list is bounded: what does not fit is not told, and costs some pod one prefill.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from gateway_plugin.peers.wire import MAX_VALUE_BYTES, MalformedNewsError
from protos import replica_state_pb2 as pb
from routing.pods.pod_work import uid_hash
from routing.prefix.prefix_blocks import keys_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from routing.pods.pod_table import PodTable
    from routing.prefix.prefix_blocks import PrefixKeys
    from routing.prefix.prefix_index import PrefixIndex
    from routing.router import Router
    from routing.spec import PodSpec

MAX_PROMPTS = 500
"""Per turn, told or taken: a prompt of 4,000 tokens is 600 bytes, and costs each other replica some 50 us."""


class News:
    """`is_alone` tells that nobody would listen."""

    def __init__(self, pods: PodTable, router: Router, is_alone: Callable[[], bool]) -> None:
        self.counts: Counter[str] = Counter({"told": 0, "taken": 0, "dropped": 0, "malformed": 0})
        self._pods = pods
        self._prefixes: PrefixIndex = router.prefixes
        self._is_alone = is_alone
        self._queued: dict[tuple[str, int], dict[int, tuple[int, ...]]] = {}
        self._room = MAX_PROMPTS
        router.on_prefix = self._tell

    def outgoing(self) -> bytes:
        """All that is new, once; empty when nothing is."""
        if not self._queued:
            return b""
        queued, self._queued, self._room = self._queued, {}, MAX_PROMPTS
        self.counts["told"] += sum(map(len, queued.values()))
        pods = (
            pb.PodPrompts(
                address=address, uid_hash=uid, prompts=(pb.Prompt(blocks=blocks) for blocks in prompts.values())
            )
            for (address, uid), prompts in queued.items()
        )
        return pb.PromptNews(pods=pods).SerializeToString()

    def take(self, value: bytes) -> None:
        """What another replica has told."""
        try:
            message = _read(value)
        except MalformedNewsError:
            self.counts["malformed"] += 1
            return
        room = MAX_PROMPTS
        for pod in message.pods:
            row = self._pods.row_of(pod.address)
            if row is None or uid_hash(self._pods.spec(row)) != pod.uid_hash:
                continue
            for prompt in pod.prompts[:room]:
                self._take(row, tuple(prompt.blocks))
            room -= min(room, len(pod.prompts))

    def _take(self, row: int, blocks: tuple[int, ...]) -> None:
        try:
            self._prefixes.insert(row, keys_of(blocks))
            self.counts["taken"] += 1
        except ValueError:
            self.counts["malformed"] += 1

    def _tell(self, pod: PodSpec, keys: PrefixKeys) -> None:
        if self._is_alone():
            return
        prompts = self._queued.setdefault((pod.address, uid_hash(pod)), {})
        if keys.hashes[-1] in prompts:
            return  # the last name stands for all
        if not self._room:
            self.counts["dropped"] += 1
            return
        self._room -= 1
        prompts[keys.hashes[-1]] = keys.hashes


def _read(value: bytes) -> pb.PromptNews:
    if len(value) > MAX_VALUE_BYTES:
        raise MalformedNewsError(f"{len(value)} bytes, more than {MAX_VALUE_BYTES}")
    try:
        return pb.PromptNews.FromString(value)
    except DecodeError:
        raise MalformedNewsError("not a PromptNews") from None
