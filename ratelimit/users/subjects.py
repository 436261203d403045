"""Whose limits an admission counts against: a user, by name, or the source of requests in nobody's name.

A closed sum: a user is a `str`, a source a `Source`. Which of the two it is says the type and never the text, so no
name can pass for a source, and none is forbidden for its looks. In Redis each has a key space of its own (`keys`).
"""

from __future__ import annotations

import re
from typing import TypeAlias

import msgspec

from ratelimit.users.users import InvalidUserName, check_user_name

# Addresses and IPv6 networks as `ipaddress` writes them, and the one word for those that nobody could tell.
_ADDRESS = re.compile(r"[0-9a-f.:/]{1,64}|unknown")


class Source(msgspec.Struct, frozen=True, gc=False):
    """Where requests come from that name no user: an address, or a network."""

    address: str


Subject: TypeAlias = str | Source


def check_subject(subject: Subject) -> None:
    """`InvalidUserName` for what no user, and no source, can be called."""
    if not isinstance(subject, Source):
        check_user_name(subject)
    elif not _ADDRESS.fullmatch(subject.address):
        raise InvalidUserName("a source is an IP address or network")
