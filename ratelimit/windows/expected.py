"""What a request is expected to cost: how much must fit, and how much is booked until its end is known.

What it surely costs is its prompt. Of what it generates only the ceiling is known, and clients send ceilings a thousand
times what they get; so the user's own last answers of the model tell what is likely. Per choice:

    typical = the median of the user's last 8,  long = the longest of them,  both at most the ceiling
              before there are any: what is usual (`likely_output`), and the ceiling, if half of the limit has room for
              it, else 256 or an eighth of the limit
    must fit = prompt + min(choices x typical, limit / 2)
    booked   = prompt + max(choices x long, min(choices x ceiling, limit) / 4)
    neither more than the limit

Half of the limit, so that one long answer does not shut out the short ones after it: who had two that were longer has
no room for a third anyway. A quarter of the ceiling, until it is known how the answer ended, so that whoever teaches
short answers first cannot have more than 5 long ones in flight (4, and one that just fitted), however large the limit;
and who asks one after the other, as people and agents do, never notices:

    spent in any 60 s  <=  limit + 5 x max(limit, choices x ceiling + what the prompt was estimated too low)

What was spent too much is debt (`window`), so that over any time the limit holds, but for that.
"""

from __future__ import annotations

from typing import NamedTuple

# For requests that name no ceiling: engines go on to the end of their context, and answers end long before.
UNKNOWN_CEILING = 8192
SHARE_OF_CEILING = 4
SHARE_OF_UNSEEN = 8
UNSEEN_OUTPUT = 256
KEPT_LENGTHS = 8
LENGTHS_SECONDS = 3600
"""How long after the last answer its length is remembered."""
MODELS_PER_SUBJECT = 64


class Lengths(NamedTuple):
    """Of a subject's last answers of a model: the newest last, at most `KEPT_LENGTHS`."""

    typical: int
    longest: int
    last: tuple[int, ...]


class Expected(NamedTuple):
    """Tokens, at most the limit."""

    must_fit: int
    booked: int


def expected(tokens: int, output: int, ceiling: int, choices: int, lengths: Lengths | None, limit: int) -> Expected:
    """`tokens` are certain; `output` is usual, and `ceiling` the most, for each choice. No ceiling: nothing more."""
    if ceiling <= 0:
        return Expected(min(tokens, limit), min(tokens, limit))
    typical = min(lengths.typical if lengths else output, ceiling) * choices
    most = ceiling * choices
    if lengths:
        longest = min(lengths.longest, ceiling) * choices
    else:
        longest = most if most <= limit // 2 else min(max(UNSEEN_OUTPUT * choices, limit // SHARE_OF_UNSEEN), most)
    share = min(most, limit) // SHARE_OF_CEILING
    must_fit = tokens + min(typical, limit // 2)
    return Expected(min(must_fit, limit), min(max(must_fit, tokens + max(longest, share)), limit))


def with_length(lengths: Lengths | None, output: int) -> Lengths:
    """What is known after one more answer."""
    last = (*(lengths.last if lengths else ()), output)[-KEPT_LENGTHS:]
    return Lengths(sorted(last)[(len(last) - 1) // 2], max(last), last)
