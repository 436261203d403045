"""Exactly as many pass as the limit allows, however many ask at once."""

from __future__ import annotations

import asyncio
import sys

from ratelimit import Admission, Decision, Outcome, RedisStore, Settlement, UserRecord

PROCESS = """
import asyncio, sys
from ratelimit import Admission, Outcome, RedisStore

async def main(url, name):
    store = RedisStore.from_url(url, timeout_seconds=30)
    await store.ping()
    print("ready", flush=True)
    sys.stdin.readline()
    asked = (store.admit(Admission("lgy", f"{name}-{number}", tokens=7)) for number in range(250))
    print(sum(decision.outcome is Outcome.ADMITTED for decision in await asyncio.gather(*asked)))
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_exactly_the_limit_passes_of_four_processes(server):
    store = RedisStore.from_url(server.url, timeout_seconds=10)
    await store.create(UserRecord("lgy", rpm=100))
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROCESS, server.url, f"{number}", stdin=pipe, stdout=pipe
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert sum(int(out) for out, _ in answers) == 100
    usage = await store.usage("lgy")
    assert usage is not None
    assert (usage.requests_used, usage.tokens_used) == (100, 700)
    await store.close()


async def test_every_admission_is_counted_once_on_four_clients(server):
    stores = [RedisStore.from_url(server.url, timeout_seconds=10) for _ in range(4)]
    await stores[0].create(UserRecord("lgy", rpm=100))
    asked = [store.admit(Admission("lgy", f"{at}-{number}")) for number in range(50) for at, store in enumerate(stores)]
    decisions = await asyncio.gather(*asked)
    outcomes = [decision.outcome for decision in decisions]
    assert outcomes.count(Outcome.ADMITTED) == 100
    assert outcomes.count(Outcome.REQUESTS_EXCEEDED) == 100
    assert sorted(d.requests_used for d in decisions if d.outcome is Outcome.ADMITTED) == list(range(1, 101))
    for store in stores:
        await store.close()


async def test_a_model_in_a_cluster_is_not_overrun_and_the_refused_give_back(cluster):
    stores = [RedisStore.from_url(cluster.url, timeout_seconds=10) for _ in range(2)]
    for user in range(8):
        await stores[0].create(UserRecord(f"u{user}", rpm=5))
    asked = [Admission(f"u{number % 8}", f"{number}", model="m", model_requests_per_second=30) for number in range(160)]
    batches = [asked[start : start + 20] for start in range(0, 160, 20)]
    answers = await asyncio.gather(*(stores[at % 2].admit_many(batch) for at, batch in enumerate(batches)))
    decisions = [answer for batch in answers for answer in batch if isinstance(answer, Decision)]
    admitted = sum(decision.outcome is Outcome.ADMITTED for decision in decisions)
    assert 30 <= admitted <= 40
    used = [await stores[0].usage(f"u{user}") for user in range(8)]
    assert sum(usage.requests_used for usage in used if usage) == admitted
    for store in stores:
        await store.close()


async def test_a_charge_that_many_replicas_settle_counts_once(server):
    stores = [RedisStore.from_url(server.url, timeout_seconds=10) for _ in range(4)]
    await stores[0].create(UserRecord("lgy"))
    batch = [Settlement("lgy", str(charge), 7) for charge in range(25)]
    assert sum(await asyncio.gather(*(store.settle_many(batch) for store in stores))) == 25
    usage = await stores[0].usage("lgy")
    assert usage is not None
    assert usage.tokens_used == 175
    for store in stores:
        await store.close()


async def test_one_of_many_creates_wins(server):
    stores = [RedisStore.from_url(server.url, timeout_seconds=10) for _ in range(4)]
    created = await asyncio.gather(*(store.create(UserRecord("lgy", rpm=rpm)) for rpm, store in enumerate(stores)))
    assert sum(created) == 1
    assert await stores[0].read("lgy") == UserRecord("lgy", rpm=created.index(True))
    for store in stores:
        await store.close()


LEASING = """
import asyncio, random, sys, time
from ratelimit import Admission, Outcome, RedisStore
from ratelimit.outage.local_limits import LocalLimits, Part
from ratelimit.outage.resilience import ResilientLimits
from ratelimit.outage.store_guard import StoreGuard
from ratelimit.store.batching import BatchingLimits
from ratelimit.users.known_users import KnownUsers
from ratelimit.windows.leases import Leases

async def main(url, name):
    store, known = RedisStore.from_url(url, timeout_seconds=30), KnownUsers(time.monotonic)
    guard = StoreGuard(store.ping, time.monotonic, random.Random(), timeout_seconds=30)
    local = LocalLimits(time.monotonic, known, Part)
    leases = Leases(time.monotonic, name, lambda: 4)
    batching = BatchingLimits(store, timeout_seconds=30)
    limits = ResilientLimits(batching, guard, known, local, time.monotonic, leases=leases)
    await store.ping()
    print("ready", flush=True)
    sys.stdin.readline()
    admitted = 0
    for number in range(1200):
        admission = Admission("lgy", f"{name}-{number}", tokens=7)
        decision = limits.admit_at_once(admission) or await limits.admit(admission)
        admitted += decision.outcome is Outcome.ADMITTED
    await limits.close()
    print(admitted, leases.admitted)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_leases_of_four_processes_never_let_in_more_than_the_limit(server):
    store = RedisStore.from_url(server.url, timeout_seconds=10)
    await store.create(UserRecord("lgy", rpm=3000))
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", LEASING, server.url, f"r{number}", stdin=pipe, stdout=pipe
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    counts = [tuple(map(int, out.split())) for out, _ in answers]
    admitted, leased = (sum(column) for column in zip(*counts, strict=True))
    assert leased > 0
    assert 3000 * 3 // 4 <= admitted <= 3000
    usage = await store.usage("lgy")
    assert usage is not None
    assert (usage.requests_used, usage.tokens_used) == (admitted, 7 * admitted)
    await store.close()
