"""R3: leaders that move, errors that pass, brokers that are killed. What was acked is there, once, in order.

The default run has the mock cluster; three real brokers are killed by `make faults` alone.
"""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import kafkapipe as kp
from kafkapipe._core import MockCluster
from kafkapipe.stack import Stack
from tests.faults.oracle import Ledger

PARTITIONS = 3
SHARE = float(os.environ.get("KAFKAPIPE_FAULTS") or 0)
PRODUCE = 0
NOT_LEADER, TIMED_OUT, NOT_ENOUGH_REPLICAS, LEADER_NOT_AVAILABLE = 6, 7, 19, 5
RETRIABLE = (NOT_LEADER, TIMED_OUT, NOT_ENOUGH_REPLICAS, LEADER_NOT_AVAILABLE)


def seeded() -> random.Random:
    """The test's chances; the seed is printed."""
    seed = int(os.environ.get("KAFKAPIPE_SEED") or random.randrange(2**32))
    print(f"KAFKAPIPE_SEED={seed}")
    return random.Random(seed)


def check(ledger: Ledger, records: list[Any]) -> None:
    """Every acked record is there once, and each partition's are in the order they were sent."""
    found = Counter((each.partition, each.value) for each in records)
    wanted = Counter((at[0], ledger.sent[at]) for at in ledger.acked)
    assert wanted - found == Counter(), "acked and lost"
    assert max(found.values()) == 1, "twice"
    for partition in range(ledger.partitions):
        there = [each.value for each in records if each.partition == partition]
        sent = [value for at, value in ledger.sent.items() if at[0] == partition and value in set(there)]
        assert there == sent, f"partition {partition} is out of order"


async def test_leaders_that_move_and_errors_that_pass(read_topic: Any) -> None:
    chance = seeded()
    with MockCluster(3) as cluster:
        cluster.create_topic("moves", PARTITIONS, 3)
        ledger = Ledger("moves", PARTITIONS)
        quick = {"retry_backoff_ms": 10, "reconnect_backoff_ms": 10, "reconnect_backoff_max_ms": 50}
        # one request at a time: mock brokers do not refuse a set that comes before the one it follows
        async with kp.Producer(cluster.bootstrap, linger_ms=1, max_in_flight=1, **quick) as producer:
            for _ in range(max(20, round(100 * SHARE))):
                cluster.set_leader("moves", chance.randrange(PARTITIONS), chance.randint(1, 3))
                cluster.push_errors(PRODUCE, chance.choices(RETRIABLE, k=5))
                await ledger.send(producer, 100)
        assert len(ledger.acked) == len(ledger.sent)
        check(ledger, await asyncio.to_thread(read_topic, cluster.bootstrap, "moves", PARTITIONS))


@pytest.mark.skipif(not SHARE, reason="three brokers: make faults")
@pytest.mark.live
@pytest.mark.timeout(4 * 3600)
async def test_three_brokers_of_which_one_is_killed(tmp_path: Path, read_topic: Any) -> None:
    chance = seeded()
    kills = max(1, round(50 * SHARE))
    async with Stack(only=["kafka"], brokers=3, kafka_port=0, data_dir=tmp_path) as stack:
        async with kp.Admin(stack.bootstrap) as admin:
            await admin.create_topic("killed", partitions=PARTITIONS, replication_factor=3, timeout=120)
        ledger = Ledger("killed", PARTITIONS)
        async with kp.Producer(stack.bootstrap, linger_ms=5, delivery_timeout_ms=120_000) as producer:
            flow = asyncio.create_task(ledger.flow(producer, 500))
            async with kp.Admin(stack.bootstrap) as admin:
                for _ in range(kills):
                    await asyncio.sleep(chance.uniform(0.5, 2))
                    victim = f"kafka-{chance.randint(1, 3)}"
                    await stack.kill(victim)
                    await asyncio.sleep(chance.uniform(0.5, 2))
                    await stack.start_server(victim)
                    await in_sync(admin)
            flow.cancel()
            await asyncio.gather(flow, return_exceptions=True)
        records = await asyncio.to_thread(read_topic, stack.bootstrap, "killed", PARTITIONS)
        print(f"{kills} brokers killed, {len(ledger.acked)} of {len(ledger.sent)} records acked")
        check(ledger, records)


async def in_sync(admin: kp.Admin) -> None:
    """Wait until every partition has its three replicas again."""
    while True:
        topic = await admin.describe_topic("killed", timeout=120)
        if all(len(partition.in_sync) == 3 for partition in topic.partitions):
            return
        await asyncio.sleep(0.3)
