"""What is in a topic is handed out, once, unchanged and in order, and commits say how far it was."""

import asyncio
import os
import signal
import threading
import time
from contextlib import asynccontextmanager

import pytest
import uvloop

from kafkapipe import (
    Batch,
    ClosedError,
    ConfigError,
    Consumer,
    DeadlineError,
    FatalError,
    MockCluster,
    Producer,
    RejectedError,
    TopicPartition,
    _core,
)

AWKWARD = ["빨강", b"", None, b"a\0b", 'say "hello"\n', "9007199254740993", b"\xff\xfe", "x" * 100_000]


def as_bytes(value):
    return value.encode() if isinstance(value, str) else value


async def fill(cluster, topic, values, partitions=1, **arguments):
    cluster.create_topic(topic, partitions)
    where = [i % partitions for i in range(len(values))]
    async with Producer(cluster.bootstrap) as producer:
        result = await producer.send_many(topic, values, partitions=where, **arguments)
    assert not result.failed


async def take(consumer, count):
    """The next so many records, and the last batch they came in."""
    records = []
    async for batch in consumer:
        records += batch
        if len(records) >= count:
            return records, batch
    raise AssertionError(f"the loop ended after {len(records)} records")


@asynccontextmanager
async def assigned(cluster, partitions=1, **arguments):
    """A consumer that has all partitions of the topic t."""
    async with Consumer(cluster.bootstrap, fetch_wait_max_ms=20, **arguments) as consumer:
        await consumer.assign([("t", number) for number in range(partitions)])
        yield consumer


async def test_records_are_what_was_sent(cluster):
    headers = [
        [("순서", str(i)), ("비어", None), ("순서", b"\0")] if i % 2 else None for i in range(len(AWKWARD))
    ]
    stamps = [1_700_000_000_000 + i for i in range(len(AWKWARD))]
    await fill(cluster, "색", AWKWARD, keys=AWKWARD, headers=headers, timestamps=stamps)
    async with Consumer(cluster.bootstrap) as consumer:
        await consumer.assign([("색", 0)])
        records, _ = await take(consumer, len(AWKWARD))
    assert [record.value for record in records] == [as_bytes(value) for value in AWKWARD]
    assert [record.key for record in records] == [as_bytes(value) for value in AWKWARD]
    assert [record.timestamp for record in records] == stamps
    assert [(record.topic, record.partition, record.offset) for record in records] == [
        ("색", 0, i) for i in range(len(AWKWARD))
    ]
    sent = [[(name, as_bytes(value)) for name, value in each or ()] for each in headers]
    assert [record.headers for record in records] == sent


async def test_batch_is_a_sequence(cluster):
    await fill(cluster, "t", [str(i) for i in range(100)])
    async with assigned(cluster) as consumer:
        _, batch = await take(consumer, 100)
        assert isinstance(batch, Batch)
        numbers = [int(record.value) for record in batch]
        assert len(batch) == len(numbers) > 1
        assert int(batch[-1].value) == numbers[-1]
        assert [int(record.value) for record in batch[2:-3]] == numbers[2:-3]
        assert [int(record.value) for record in batch[2:][1:3]] == numbers[3:5]
        assert len(batch[50_000:]) == 0
        for index in (len(batch), -len(batch) - 1):
            with pytest.raises(IndexError):
                batch[index]
        with pytest.raises(ValueError, match="no step"):
            batch[::2]


async def test_records_outlive_their_consumer_and_nothing_else_does(cluster):
    await fill(cluster, "t", ["빨강"] * 10)
    before = _core.memory_live()
    async with assigned(cluster) as consumer:
        records, _ = await take(consumer, 10)
        del _
        kept = records[3]
        del records
    assert kept.value == "빨강".encode()
    assert kept.topic == "t"
    assert _core.memory_live() > before
    del kept
    end = time.monotonic() + 10
    while _core.memory_live() > before:
        assert time.monotonic() < end, "the client of the last record was not ended"
        await asyncio.sleep(0.01)


async def test_batches_are_not_larger_than_asked_for(cluster):
    await fill(cluster, "t", ["x"] * 100)
    async with assigned(cluster, max_records=7) as consumer:
        sizes = []
        async for batch in consumer:
            sizes.append(len(batch))
            if sum(sizes) == 100:
                break
    assert max(sizes) == 7


async def test_start_is_earliest_latest_or_an_offset(cluster):
    await fill(cluster, "t", [str(i) for i in range(10)])
    for start, first in ((None, 0), ("earliest", 0), (4, 4), ("latest", 13)):
        async with Consumer(cluster.bootstrap) as consumer, Producer(cluster.bootstrap) as producer:
            await consumer.assign([("t", 0)], start)
            assert await consumer.position() == {("t", 0): first}
            await producer.send("t", "more", partition=0)
            records, _ = await take(consumer, 1)
            assert records[0].offset == first


async def test_commit_is_the_end_of_what_was_handed_out(cluster):
    await fill(cluster, "t", [str(i) for i in range(40)], 2)
    async with assigned(cluster, partitions=2, group="g", max_records=10) as consumer:
        assert await consumer.committed() == {("t", 0): None, ("t", 1): None}
        batch = await anext(consumer)
        await batch.commit()
        assert list((await consumer.committed()).values()).count(10) == 1
        batch[:4].commit_sync()
        _, last = await take(consumer, 30)
        await asyncio.gather(last.commit(), last[:0].commit())
        here = (last[0].topic, last[0].partition)
        assert (await consumer.committed([here]))[here] == last[-1].offset + 1
        other = ("t", 1 - here[1])
        assert (await consumer.committed([other]))[other] in (4, 10)


async def test_group_goes_on_where_it_committed(cluster):
    await fill(cluster, "t", [str(i) for i in range(20)])
    async with assigned(cluster, group="g", max_records=8) as consumer:
        batch = await anext(consumer)
        await batch.commit()
        await anext(consumer)
    async with assigned(cluster, group="g") as consumer:
        assert await consumer.position() == {("t", 0): 8}
        assert await consumer.lag() == {("t", 0): 12}
        records, _ = await take(consumer, 12)
        assert records[0].offset == 8
        assert await consumer.lag() == {("t", 0): 0}


async def test_auto_commit_takes_only_what_the_body_finished(cluster):
    await fill(cluster, "t", [str(i) for i in range(20)])
    async with assigned(
        cluster, group="g", max_records=5, enable_auto_commit=True, auto_commit_interval_ms=10
    ) as consumer:
        async for batch in consumer:
            if batch[0].offset == 10:
                break
    async with assigned(cluster, group="g") as consumer:
        assert await consumer.committed() == {("t", 0): 10}


async def test_nothing_is_committed_unasked(cluster):
    await fill(cluster, "t", ["x"] * 20)
    async with assigned(cluster, group="g") as consumer:
        await take(consumer, 20)
    async with assigned(cluster, group="g") as consumer:
        assert await consumer.committed() == {("t", 0): None}


async def test_seek_and_position(cluster):
    await fill(cluster, "t", [str(i) for i in range(100)], 2)
    async with assigned(cluster, partitions=2) as consumer:
        await take(consumer, 100)
        await consumer.seek(40)
        assert await consumer.position() == {("t", 0): 40, ("t", 1): 40}
        records, _ = await take(consumer, 20)
        assert {record.offset for record in records} == set(range(40, 50))
        await consumer.seek({("t", 1): 48})
        records, _ = await take(consumer, 2)
        assert [(record.partition, record.offset) for record in records] == [(1, 48), (1, 49)]
        await consumer.seek("earliest", [("t", 0)])
        assert (await take(consumer, 50))[0][0].offset == 0
        await consumer.seek("latest")
        assert await consumer.position() == {("t", 0): 50, ("t", 1): 50}
        assert await consumer.watermarks() == {("t", 0): (0, 50), ("t", 1): (0, 50)}


async def test_paused_partition_hands_nothing_out_until_resumed(cluster):
    await fill(cluster, "t", ["x"] * 20, 2)
    async with assigned(cluster, partitions=2) as consumer:
        await consumer.pause([("t", 0)])
        records, _ = await take(consumer, 10)
        assert {record.partition for record in records} == {1}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(consumer), 0.3)
        await consumer.resume()
        records, _ = await take(consumer, 10)
        assert {record.partition for record in records} == {0}
        assert await consumer.lag() == {("t", 0): 0, ("t", 1): 0}


async def test_partition_that_is_not_assigned_is_named(cluster):
    cluster.create_topic("t", 1)
    async with assigned(cluster) as consumer:
        for call in (consumer.pause, consumer.resume):
            with pytest.raises(RejectedError, match=r"of t \[7\]: it is not assigned"):
                await call([("t", 7)])
        with pytest.raises(RejectedError, match=r"seek of t \[7\]"):
            await consumer.seek(0, [("t", 7)])
        with pytest.raises(RejectedError, match=r"t \[0\] from -1: give an offset from 0 up"):
            await consumer.seek(-1)
        assert consumer.assignment == (TopicPartition("t", 0),)


@pytest.mark.parametrize("how", ["task", "thread", "signal"])
async def test_stop_ends_a_loop_that_waits_at_once(cluster, how):
    cluster.create_topic("t", 1)
    async with assigned(cluster) as consumer:
        loop = asyncio.get_running_loop()
        called = 0.0

        def stop():
            nonlocal called
            called = time.monotonic()
            consumer.stop()

        def from_outside():
            if how == "thread":
                threading.Timer(0, stop).start()
            elif how == "signal":
                os.kill(os.getpid(), signal.SIGUSR1)
            else:
                stop()

        before = signal.signal(signal.SIGUSR1, lambda *_: stop())
        loop.call_later(0.2, from_outside)
        async for _ in consumer:
            pytest.fail("there is no record")
        took = time.monotonic() - called
        signal.signal(signal.SIGUSR1, before)
        assert took < 0.5
        with pytest.raises(ClosedError):
            await consumer.position()


async def test_cancelled_wait_loses_nothing(cluster):
    cluster.create_topic("t", 1)
    async with assigned(cluster) as consumer, Producer(cluster.bootstrap, linger_ms=0) as producer:
        early = []
        for i in range(5):
            waiting = asyncio.ensure_future(anext(consumer))
            await asyncio.sleep(0.01)
            waiting.cancel()
            [outcome] = await asyncio.gather(waiting, return_exceptions=True)
            early += [] if isinstance(outcome, asyncio.CancelledError) else outcome  # it had one already
            await producer.send("t", str(i), partition=0)
        late = (await take(consumer, 5 - len(early)))[0] if len(early) < 5 else []
    assert [record.value for record in (*early, *late)] == [b"0", b"1", b"2", b"3", b"4"]


async def test_loop_that_always_has_a_batch_lets_others_run(cluster):
    await fill(cluster, "t", ["x"] * 5000)
    async with assigned(cluster, max_records=1) as consumer:
        await anext(consumer)
        asyncio.get_running_loop().call_soon(consumer.stop)
        seen = 0
        async for _ in consumer:
            seen += 1
    assert seen < 10


async def test_two_loops_are_refused(cluster):
    cluster.create_topic("t", 1)
    async with assigned(cluster) as consumer:
        waiting = asyncio.ensure_future(anext(consumer))
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="one loop at a time"):
            await anext(consumer)
        consumer.stop()
        with pytest.raises(StopAsyncIteration):
            await waiting


async def test_idle_consumer_does_not_wake_the_loop(cluster):
    await fill(cluster, "t", ["x"])
    async with assigned(cluster) as consumer:
        await take(consumer, 1)
        waiting = asyncio.ensure_future(anext(consumer))
        await asyncio.sleep(0.5)
        before = await asyncio.to_thread(_switches)
        await asyncio.sleep(3)
        after = await asyncio.to_thread(_switches)
        waiting.cancel()
    assert after - before <= 8, f"{after - before} context switches in 3 s without a record"


def _switches():
    with open(f"/proc/self/task/{os.getpid()}/status", encoding="ascii") as status:
        return sum(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))


async def test_wait_longer_than_the_poll_interval_keeps_the_partitions(cluster):
    cluster.create_topic("t", 1)
    settings = {"max_poll_interval_ms": 3300, "session_timeout_ms": 3300, "heartbeat_interval_ms": 100}
    lost = []

    async def on_lost(_, partitions):
        lost.append(partitions)

    async with (
        Consumer(cluster.bootstrap, group="g", topics="t", on_lost=on_lost, **settings) as consumer,
        Producer(cluster.bootstrap, linger_ms=0) as producer,
    ):
        waiting = asyncio.ensure_future(anext(consumer))
        await asyncio.sleep(8)  # three of them to join the group
        await producer.send("t", "late", partition=0)
        assert (await asyncio.wait_for(waiting, 10))[0].value == b"late"
    assert lost == []


async def test_consumer_works_on_uvloop(cluster):
    def main():
        async def read():
            await fill(cluster, "t", ["빨강"] * 100)
            async with assigned(cluster) as consumer:
                assert len((await take(consumer, 100))[0]) == 100

        uvloop.run(read())

    await asyncio.to_thread(main)


async def test_broker_that_is_away_is_a_deadline_error_in_time(cluster):
    await fill(cluster, "t", ["x"])
    async with assigned(cluster, group="g") as consumer:
        _, batch = await take(consumer, 1)
        cluster.set_up(-1, False)
        for ask in (consumer.watermarks(timeout=0.3), consumer.committed(timeout=0.3), batch.commit(0.3)):
            start = time.monotonic()
            with pytest.raises(DeadlineError):
                await ask
            assert time.monotonic() - start < 3
        with pytest.raises(DeadlineError):
            batch.commit_sync(0.3)
        await consumer.close(timeout=1)


async def test_commit_after_close_or_without_group_is_refused(cluster):
    await fill(cluster, "t", ["x"])
    async with assigned(cluster) as consumer:
        _, batch = await take(consumer, 1)
        with pytest.raises(ConfigError, match="give group="):
            await batch.commit()
    with pytest.raises(ClosedError):
        await batch.commit()
    with pytest.raises(ClosedError):
        consumer.__aiter__()
    with pytest.raises(ClosedError, match="make a new one"):
        await consumer.start()
    del consumer
    with pytest.raises(ClosedError, match="gone"):
        batch.commit_sync()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"topics": ["t"]}, "give group="),
        ({"enable_auto_commit": True}, "give group="),
        ({"start": "now"}, "start is 'now'"),
        ({"max_records": 0}, "max_records is 0"),
        ({"grup_id": "g"}, 'did you mean "group.id"'),
        ({"session_timeout_ms": "soon"}, "session.timeout.ms"),
    ],
)
async def test_wrong_setting_is_named(arguments, words):
    with pytest.raises(ConfigError, match=words):
        await Consumer("127.0.0.1:1", **arguments).start()


async def test_new_group_protocol_is_used_or_refused_by_name(cluster):
    properties = _core.kafka_properties()
    if "group.protocol" in properties:
        async with Consumer(cluster.bootstrap, group="g", group_protocol="consumer"):
            return
    with pytest.raises(ConfigError, match=r"needs librdkafka 2\.12"):
        Consumer(cluster.bootstrap, group="g", group_protocol="consumer")


async def test_unclosed_consumer_warns_and_leaves_nothing(cluster):
    cluster.create_topic("t", 1)
    before = _core.memory_live()
    consumer = Consumer(cluster.bootstrap)
    await consumer.start()
    asyncio.get_running_loop().remove_reader(consumer._core.fileno())
    with pytest.warns(ResourceWarning, match="unclosed consumer"):
        del consumer
    end = time.monotonic() + 10
    while _core.memory_live() > before:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_forked_child_is_refused(cluster):
    await fill(cluster, "t", ["x"])
    async with assigned(cluster) as consumer:
        records, _ = await take(consumer, 1)
        child = os.fork()
        if child == 0:
            try:
                consumer._core.assignment()
            except FatalError as error:
                os._exit(7 if "before a fork" in error.message and records[0].value == b"x" else 1)
            os._exit(2)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 7


async def test_no_growth_over_many_batches():
    with MockCluster() as cluster:
        await fill(cluster, "t", ["x"] * 1000)
        async with assigned(cluster, max_records=10) as consumer:
            await take(consumer, 1000)
            before = _core.memory_live()
            for _ in range(20):
                await consumer.seek(0)
                records, batch = await take(consumer, 1000)
                assert sum(len(record.value) for record in records) >= 1000
                del records, batch
            assert _core.memory_live() <= before
