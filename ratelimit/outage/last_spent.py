"""The last known windows: what the store said with each answer that its users had spent in the last minute.

They are where counting goes on when the store goes away. Kept as the server writes them, and read only then; by its
clock, which is turned into this process's own: whatever was spent is never taken for older than it can be.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from ratelimit.windows.spending import BUCKET_SECONDS, bucket_at, counts_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ratelimit.users.subjects import Subject
    from ratelimit.windows.limits import Limits

_MAX_SCOPES = 8
"""Of one subject: all, and the models with limits of their own."""
_OVERTAKEN_US = 5_000_000
"""An answer that is older by less was overtaken on its way; by more, the server's clock was set back."""
_MAX_LAG_SECONDS, _MAX_LEAD_SECONDS = 70.0, 1.0
"""Of what others were told: older says nothing any more, and nobody is told things in the future."""
_OWED = re.compile(r"=\d{1,19}/(\d{1,19}) ", re.ASCII)
_PAIR = re.compile(r"(\d{1,19}):(\d{1,19})", re.ASCII)
_LONGEST_TEXT = 8192
"""Longer than any window that a gateway writes. What strangers wrote beyond counts for nothing."""

Text = bytes | str
Scope = tuple[int, int, int, Text, Text]
"""Limits, requests used, and windows, requests before tokens."""


class Told(NamedTuple):
    """What the store said of one scope: a subject's own, or the one it has with a model."""

    at_seconds: float
    """By this process's clock, when it was heard."""
    server_us: int
    """By the server's, when it was said."""
    requests_limit: int
    tokens_limit: int
    requests_used: int
    requests: Text
    """Windows as `lua/window.lua` writes them."""
    tokens: Text

    def buckets(self, text: Text) -> dict[int, int]:
        """A window by the buckets of this process's clock; what is owed, as if it had been spent now."""
        found: dict[int, int] = {}
        owed = _OWED.match(_plain(text))
        if owed:
            found[bucket_at(self.at_seconds)] = int(owed[1])
        for bucket, count in _pairs(text, self.server_us).items():
            end_seconds = (bucket + 1) * BUCKET_SECONDS - self.server_us / 1e6 + self.at_seconds
            mine = bucket_at(min(end_seconds, self.at_seconds))
            found[mine] = found.get(mine, 0) + count
        return found


class Own(NamedTuple):
    requests: int
    tokens: int


_NOTHING = Own(0, 0)


class Lost(NamedTuple):
    """Windows that the server should have, as it writes them."""

    model: str
    used: int
    requests: str
    tokens: str


class Heard(NamedTuple):
    """All that the store said of one subject."""

    limits: Limits
    """Its own, whatever model it asked for."""
    scopes: OrderedDict[str, Told]
    """By model, "" for its own; at most eight."""


class LastSpent:
    """`clock` is monotonic. Bounded: those heard of last."""

    def __init__(self, clock: Callable[[], float], *, max_subjects: int = 20_000) -> None:
        self._clock = clock
        self._max_subjects = max_subjects
        self._heard: OrderedDict[Subject, Heard] = OrderedDict()
        self._gone: OrderedDict[Subject, float] = OrderedDict()
        """When subjects were forgotten: others may still tell what was before, which would be restored."""
        self._changed: dict[Subject, None] = {}
        self._both_clocks: tuple[float, int] | None = None
        """When the server was heard last, by this process's clock and by its own."""

    def __len__(self) -> int:
        return len(self._heard)

    def get(self, subject: Subject) -> Heard | None:
        return self._heard.get(subject)

    def hear(
        self, subject: Subject, limits: Limits, server_us: int, scopes: Mapping[str, Scope], own: Own = _NOTHING
    ) -> list[Lost]:
        """One answer; and what the server has forgotten since the one before, which is still known here.

        Nothing takes requests out of a bucket: where there are fewer of them, the bucket was lost, and its tokens, too.
        What was admitted with this very answer (`own`) comes on top of what was known.
        """
        now = self._clock()
        lost: list[Lost] = []
        before = self._heard.get(subject)
        kept = before.scopes if before is not None else OrderedDict[str, Told]()
        for model, told in scopes.items():
            known, new = kept.get(model), Told(now, server_us, *told)
            if known is not None and 0 < known.server_us - server_us < _OVERTAKEN_US:
                continue
            # The sum tells most of the time that there is nothing to look for.
            if known is not None and new.requests_used <= known.requests_used and (gone := _forgotten(known, new, own)):
                new = new._replace(requests_used=gone.used, requests=gone.requests, tokens=gone.tokens)
                lost.append(gone._replace(model=model))
            kept[model] = new
            kept.move_to_end(model)
        self._both_clocks = now, server_us
        if len(self._changed) < self._max_subjects:
            self._changed[subject] = None
        self._keep(subject, limits, kept)
        return lost

    def take(self, subject: Subject, limits: Limits, server_us: int, scopes: Mapping[str, Scope]) -> None:
        """What another replica was told; it holds where it is newer than what was heard here."""
        if self._both_clocks is None:
            return
        at, at_us = self._both_clocks
        told_at = at + (server_us - at_us) / 1e6
        if not -_MAX_LAG_SECONDS < told_at - self._clock() < _MAX_LEAD_SECONDS:
            return
        if told_at <= self._gone.get(subject, float("-inf")):
            return
        before = self._heard.get(subject)
        kept = before.scopes if before is not None else OrderedDict[str, Told]()
        for model, told in scopes.items():
            known = kept.get(model)
            if known is None or known.server_us < server_us:
                kept[model] = Told(told_at, server_us, *told)
        self._keep(subject, limits, kept)

    def take_changed(self) -> list[Subject]:
        """Whom the server told of since this was asked last."""
        changed, self._changed = self._changed, {}
        return list(changed)

    def _keep(self, subject: Subject, limits: Limits, scopes: OrderedDict[str, Told]) -> None:
        while len(scopes) > _MAX_SCOPES:
            scopes.popitem(last=False)
        self._heard[subject] = Heard(limits, scopes)
        self._heard.move_to_end(subject)
        if len(self._heard) > self._max_subjects:
            self._heard.popitem(last=False)

    def forget(self, subject: Subject) -> None:
        """There is no such subject any more."""
        self._heard.pop(subject, None)
        self._gone[subject] = self._clock()
        self._gone.move_to_end(subject)
        if len(self._gone) > self._max_subjects:
            self._gone.popitem(last=False)


def _pairs(text: Text, server_us: int) -> dict[int, int]:
    """The buckets that counted when the server said so."""
    current = _current(server_us)
    pairs = ((int(bucket), int(count)) for bucket, count in _PAIR.findall(_plain(text)))
    return {bucket: count for bucket, count in pairs if counts_at(bucket, current)}


def _current(server_us: int) -> int:
    return int(server_us // 1_000_000 // BUCKET_SECONDS)


def _plain(text: Text) -> str:
    text = text if len(text) <= _LONGEST_TEXT else ""
    return text if isinstance(text, str) else text.decode("ascii", "replace")


def _lacks(before: Text, after: Text, server_us: int) -> bool:
    """Does a bucket that counts hold less than before? Most are the same: only what differs is read, as every second
    answer to a busy user comes here."""
    old, new = frozenset(_plain(before).split()), frozenset(_plain(after).split())
    held = _pairs(" ".join(new - old), server_us)
    gone = _pairs(" ".join(old - new), server_us)
    return any(held.get(at, 0) < count for at, count in gone.items())


def _forgotten(known: Told, new: Told, own: Own) -> Lost | None:
    if not _lacks(known.requests, new.requests, new.server_us):
        return None
    current = _current(new.server_us)
    before, after = _pairs(known.requests, new.server_us), _pairs(new.requests, new.server_us)
    tokens = _pairs(known.tokens, new.server_us)
    before[current] = before.get(current, 0) + own.requests
    tokens[current] = tokens.get(current, 0) + own.tokens
    requests, tokens = _larger(before, after), _larger(tokens, _pairs(new.tokens, new.server_us))
    return Lost("", sum(requests.values()), _written(requests), _written(tokens))


def _larger(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    return {at: max(one.get(at, 0), other.get(at, 0)) for at in one.keys() | other.keys()}


def _written(counts: Mapping[int, int]) -> str:
    return " ".join(f"{at}:{count}" for at, count in counts.items())
