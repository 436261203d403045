"""What of a quota a replica may let through while the store is away."""

from __future__ import annotations

from ratelimit import Admission
from ratelimit.outage.local_limits import Part
from ratelimit.outage.quota_book import QuotaBook
from ratelimit.windows.quotas import QuotaState, ToldQuotas


def told(*states: QuotaState, group: str = "") -> ToldQuotas:
    return ToldQuotas(None, group, states)


def state(scope: str, kind: str, limit: int, used: int, seconds: float = 1000.0) -> QuotaState:
    return QuotaState(scope, "day", kind, limit, used, seconds, 0)


def let_in(book: QuotaBook, user: str, tokens: int, part: Part) -> int:
    """How many requests pass."""
    count = 0
    while book.refusal(Admission(user, f"{count}"), tokens, part.of) is None and count < 100:
        book.book(Admission(user, f"{count}"), tokens)
        count += 1
    return count


def test_all_replicas_together_let_through_what_was_left():
    admitted = 0
    for rank in range(3):
        book = QuotaBook(lambda: 0.0)
        book.hear("lgy", told(state("user", "requests", 20, 10)))
        admitted += let_in(book, "lgy", 1, Part(3, rank))
    assert admitted == 10


def test_members_share_what_is_left_of_their_group():
    book = QuotaBook(lambda: 0.0)
    book.hear("a", told(state("group", "tokens", 100, 20), group="team"))
    book.hear("b", told(state("user", "requests", 3, 0), state("group", "tokens", 100, 40), group="team"))
    assert let_in(book, "a", 10, Part()) == 6
    refused = book.refusal(Admission("b", "x"), 10, Part().of)
    assert refused is not None
    assert refused.scope == "group"
    assert let_in(book, "stranger", 10, Part()) == 100


def test_a_period_that_ends_meanwhile_begins_anew():
    clock = [0.0]
    book = QuotaBook(lambda: clock[0])
    book.hear("lgy", told(state("user", "requests", 4, 4, seconds=50.0)))
    assert book.refusal(Admission("lgy", "1"), 1, Part().of) is not None
    clock[0] = 51.0
    assert let_in(book, "lgy", 1, Part(2, 0)) == 2


def test_what_is_heard_again_replaces_what_was_counted_here():
    book = QuotaBook(lambda: 0.0, max_scopes=2)
    book.hear("lgy", told(state("user", "requests", 2, 0)))
    assert let_in(book, "lgy", 1, Part()) == 2
    book.hear("lgy", told(state("user", "requests", 2, 1)))
    assert let_in(book, "lgy", 1, Part()) == 1
    for name in ("a", "b"):
        book.hear(name, told(state("user", "requests", 2, 0)))
    assert len(book) == 2
    book.forget("b")
    assert len(book) == 1
