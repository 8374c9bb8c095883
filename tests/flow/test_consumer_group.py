"""Members of a group share partitions; callbacks finish before partitions go; whoever stops leaves at once.

The mock brokers hold a group's first rebalance back for three seconds, so each test here takes a few.
"""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from kafkapipe import Consumer, MockCluster, Producer, RejectedError

STRATEGIES = ["range", "roundrobin", "cooperative-sticky"]
QUICK = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 100}


class Member:
    """A consumer whose loop runs in a task, and what it was told."""

    def __init__(self, cluster: MockCluster, **arguments):
        self.told = []
        self.seen = []
        self.consumer = Consumer(
            cluster.bootstrap,
            group="g",
            **{"topics": ["t"], "on_assign": self._tell("assign"), "on_revoke": self._tell("revoke")}
            | QUICK
            | arguments,
        )

    def _tell(self, kind):
        async def tell(consumer, partitions):
            await asyncio.sleep(0)
            self.told.append((kind, {partition for _, partition in partitions}))

        return tell

    async def __aenter__(self):
        await self.consumer.start()
        self.task = asyncio.ensure_future(self._run())
        return self

    async def __aexit__(self, *_):
        self.consumer.stop()
        try:
            await self.task
        finally:
            await self.consumer.close()

    async def _run(self):
        async for batch in self.consumer:
            self.seen += [(record.partition, record.offset) for record in batch]
            await batch.commit()

    @property
    def holds(self):
        return {partition for _, partition in self.consumer.assignment}


async def until(condition, seconds=25):
    """Wait until it is true, looking often."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become true"
        await asyncio.sleep(0.01)


async def fill(cluster, count, partitions=4, topic="t"):
    async with Producer(cluster.bootstrap) as producer:
        await producer.send_many(topic, ["빨강"] * count, partitions=[i % partitions for i in range(count)])


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_members_share_and_hand_over(cluster, strategy):
    cluster.create_topic("t", 4)
    settings = {"partition_assignment_strategy": strategy}
    async with Member(cluster, **settings) as first:
        await until(lambda: first.holds == {0, 1, 2, 3})
        await fill(cluster, 400)
        await until(lambda: len(first.seen) == 400)
        async with Member(cluster, **settings) as second:
            await until(lambda: len(first.holds) == len(second.holds) == 2)
            assert first.holds | second.holds == {0, 1, 2, 3}
            gone = set().union(*(where for kind, where in first.told if kind == "revoke"))
            assert gone >= second.holds
            await fill(cluster, 400)
            await until(lambda: len(first.seen) + len(second.seen) >= 800)
        await until(lambda: first.holds == {0, 1, 2, 3})
    assert len(first.seen + second.seen) == len({*first.seen, *second.seen}) == 800


async def test_partitions_wait_for_the_body_and_for_on_revoke(cluster):
    cluster.create_topic("t", 2)
    order = []
    body = asyncio.Event()
    revoking = asyncio.Event()

    async def on_revoke(consumer, partitions):
        order.append("revoke")
        await asyncio.wait_for(revoking.wait(), 20)
        order.append("revoked")

    batches = []

    async def run(consumer):
        async for batch in consumer:
            batches.append(batch)
            await body.wait()
            order.append("body")

    settings = {"partition_assignment_strategy": "range", **QUICK}
    async with AsyncExitStack() as stack:
        consumer = await stack.enter_async_context(
            Consumer(cluster.bootstrap, group="g", topics=["t"], on_revoke=on_revoke, **settings)
        )
        loop = asyncio.ensure_future(run(consumer))
        await fill(cluster, 20, 2)
        await until(lambda: len(batches) == 1)
        second = await stack.enter_async_context(Member(cluster, partition_assignment_strategy="range"))
        await asyncio.sleep(0.5)
        assert order == []
        body.set()
        await until(lambda: order[-1:] == ["revoke"])
        await asyncio.sleep(0.3)
        assert second.holds == set()
        revoking.set()
        await until(lambda: len(second.holds) == 1)
        await until(lambda: len(consumer.assignment) == 1)
        assert order[:3] == ["body", "revoke", "revoked"]
        consumer.stop()
        await loop


async def test_on_assign_may_seek_and_pause(cluster):
    cluster.create_topic("t", 2)
    await fill(cluster, 100, 2)

    async def on_assign(consumer, partitions):
        assert await consumer.position() == {("t", 0): 0, ("t", 1): 0}
        await consumer.seek(40, [("t", 0)])
        assert (await consumer.position())["t", 0] == 40
        await consumer.pause([("t", 1)])

    async with Consumer(cluster.bootstrap, group="g", topics="t", on_assign=on_assign, **QUICK) as consumer:
        batch = await asyncio.wait_for(anext(consumer), 20)
        assert {(record.partition, record.offset) for record in batch} == {(0, i) for i in range(40, 50)}


async def test_start_holds_only_where_nothing_is_committed(cluster):
    cluster.create_topic("t", 2)
    await fill(cluster, 100, 2)
    async with Consumer(cluster.bootstrap, group="g") as before:
        await before.assign({("t", 0): 20, ("t", 1): "latest"})
        batch = await anext(before)
        await batch[:5].commit()
    firsts = {}
    async with Consumer(cluster.bootstrap, group="g", topics=["t"], start=45, **QUICK) as consumer:
        async for batch in consumer:
            for record in batch:
                firsts.setdefault(record.partition, record.offset)
            if len(firsts) == 2:
                break
    assert firsts == {0: 25, 1: 45}


@pytest.mark.parametrize("callback", ["on_assign", "on_revoke"])
async def test_exception_of_a_callback_reaches_the_user_and_frees_the_partitions(cluster, callback):
    cluster.create_topic("t", 2)

    async def fail(consumer, partitions):
        raise ZeroDivisionError("callback")

    async def use():
        consumer = Consumer(cluster.bootstrap, group="g", topics=["t"], **{callback: fail}, **QUICK)
        async with consumer:
            waiting = asyncio.ensure_future(anext(consumer))
            await until(lambda: consumer.assignment or waiting.done())
            consumer.stop()
            await waiting

    with pytest.raises(ZeroDivisionError, match="callback"):
        await use()
    async with Member(cluster) as second:
        await until(lambda: second.holds == {0, 1}, 10)


async def test_commit_of_a_partition_that_went_is_refused(cluster):
    cluster.create_topic("t", 1)
    await fill(cluster, 10, 1)
    async with Consumer(cluster.bootstrap, group="g") as consumer:
        await consumer.assign([("t", 0)])
        batch = await anext(consumer)
        await consumer.assign([])
        with pytest.raises(RejectedError, match=r"commit of t \[0\]: taken away") as caught:
            await batch.commit()
        assert caught.value.code == "REVOKED"
        await consumer.assign([("t", 0)])
        with pytest.raises(RejectedError, match=r"commit of t \[0\]"):
            batch.commit_sync()
        assert await consumer.committed() == {("t", 0): None}


async def test_pattern_takes_the_topics_that_fit(cluster):
    for topic in ("color-1", "color-2", "other"):
        cluster.create_topic(topic, 1)
        await fill(cluster, 5, 1, topic)
    topics = set()
    async with Consumer(cluster.bootstrap, group="g", topics=["^color-.*"], **QUICK) as consumer:
        async for batch in consumer:
            topics |= {record.topic for record in batch}
            if len(topics) == 2:
                break
    assert topics == {"color-1", "color-2"}


async def test_auto_commit_is_done_before_partitions_go(cluster):
    cluster.create_topic("t", 1)
    await fill(cluster, 30, 1)
    slow = {"enable_auto_commit": True, "auto_commit_interval_ms": 60_000, "max_records": 10}
    async with Consumer(cluster.bootstrap, group="g", topics=["t"], **slow, **QUICK) as consumer:
        async for batch in consumer:
            if batch[-1].offset == 29:
                consumer.stop()
    async with Consumer(cluster.bootstrap, group="g") as after:
        assert await after.committed([("t", 0)]) == {("t", 0): 30}
