"""What a group and a day's quota cost an admission: CPU time of client and server, in pairs of rounds that alternate.

    python -m benchmarks.limits.quota_cost [rounds]

Compared is a user with a minute's limits alone with one in a group that has a day's quota, both asked in pipelines of
32 as a busy replica asks. The median of the rounds' ratios is told, which other load of the machine moves less than
times.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from gateway_plugin.tools.chain.valkey import Valkey
from ratelimit import Admission, GroupRecord, RedisStore, UserRecord

PIPELINE = 32
ADMISSIONS = 4000
"""Of one kind in a round."""
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Prints one line a round, and the medians."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    asyncio.run(_compare(rounds))


async def _compare(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Valkey(Path(folder)) as valkey:
            store = RedisStore.from_url(valkey.url, timeout_seconds=30)
            await store.create_group(GroupRecord("team", quotas={"day": (0, 10**12)}))
            for name, group in (("plain", ""), ("member", "team")):
                await store.create(UserRecord(name, rpm=10**9, tpm=10**12, group=group))
            await _cost(store, valkey.pid, "plain", 0)
            await _cost(store, valkey.pid, "member", 0)
            ratios = []
            for number in range(1, rounds + 1):
                kinds = ("plain", "member") if number % 2 else ("member", "plain")
                costs = {kind: await _cost(store, valkey.pid, kind, number) for kind in kinds}
                ratios.append(costs["member"] / costs["plain"])
                print(f"{costs['plain']:.1f} us  {costs['member']:.1f} us  {ratios[-1]:.3f}")
            print(f"median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")
            await store.close()


async def _cost(store: RedisStore, server: int, user: str, number: int) -> float:
    """CPU microseconds of an admission, server and client together."""
    before = time.process_time() + _server_seconds(server)
    for start in range(0, ADMISSIONS, PIPELINE):
        asked = [Admission(user, f"{user}-{number}-{at}", "m", 100) for at in range(start, start + PIPELINE)]
        await store.admit_many(asked)
    return (time.process_time() + _server_seconds(server) - before) / ADMISSIONS * 1e6


def _server_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main()
