"""The consumer against a real broker: time, groups that are left at once, and Kafka's own tools beside it."""

import asyncio
import time
from datetime import UTC, datetime

import pytest

from kafkapipe import Admin, Consumer, Producer, RejectedError

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
QUICK = {"heartbeat_interval_ms": 100, "session_timeout_ms": 45_000}


async def make(stack, topic, partitions=1):
    async with Admin(stack.bootstrap) as admin:
        await admin.create_topic(topic, partitions=partitions)


async def java(stack, main, *args, stdin=None):
    result = await stack.run_java_tool(
        "kafka", main, "--bootstrap-server", stack.bootstrap, *args, stdin=stdin
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


async def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become true"
        await asyncio.sleep(0.005)


async def test_seek_by_time_where_times_are_out_of_order(stack):
    await make(stack, "consumer-times")
    stamps = [1000, 5000, 2000, 9000, 3000]
    async with Producer(stack.bootstrap) as producer:
        await producer.send_many("consumer-times", [str(stamp) for stamp in stamps], timestamps=stamps)
    place = [("consumer-times", 0)]
    async with Consumer(stack.bootstrap) as consumer:
        for second, first in ((0, 0), (2, 1), (5, 1), (6, 3), (10, 5)):
            await consumer.assign(place, datetime.fromtimestamp(second, UTC))
            assert list((await consumer.position()).values()) == [first]
        await consumer.seek(datetime.fromtimestamp(6, UTC))
        batch = await anext(consumer)
        assert [(record.offset, record.timestamp) for record in batch] == [(3, 9000), (4, 3000)]


async def test_kafkas_tools_read_the_commits_and_the_headers(stack):
    await make(stack, "consumer-interop")
    lines = '순서:1,빈:\t홍길동\t빨강 "9007199254740993"\n순서:2,빈:\t홍길동\t파랑\n'
    properties = ["parse.headers=true", "parse.key=true"]
    options = [word for each in properties for word in ("--reader-property", each)]
    await java(stack, PRODUCER, "--topic", "consumer-interop", *options, stdin=lines.encode())
    async with Consumer(stack.bootstrap, group="interop") as consumer:
        await consumer.assign([("consumer-interop", 0)])
        records = []
        async for batch in consumer:
            records += batch
            if len(records) == 2:
                break
        assert [record.key.decode() for record in records] == ["홍길동", "홍길동"]
        assert [record.value.decode() for record in records] == ['빨강 "9007199254740993"', "파랑"]
        assert records[1].headers == [("순서", b"2"), ("빈", b"")]
        await batch[: 1 - len(records)].commit() if len(batch) == 2 else await batch.commit()
        assert list((await consumer.committed()).values()) == [1 if len(batch) == 2 else 2]
        await batch.commit()
    described = await java(stack, GROUPS, "--describe", "--group", "interop")
    [row] = [line.split() for line in described.splitlines() if "consumer-interop" in line]
    assert row[3:6] == ["2", "2", "0"]  # the group's offset, the end, the lag

    async with Producer(stack.bootstrap) as producer:
        await producer.send("consumer-interop", "노랑", headers=[("출처", "kafkapipe")])
    shown = ("--formatter-property", "print.headers=true")
    read = await java(
        stack, CONSUMER, "--topic", "consumer-interop", "--group", "interop", "--max-messages", "1", *shown
    )
    assert "출처:kafkapipe\t노랑" in read


async def test_stopped_member_is_gone_in_under_a_second_and_commits_in_on_revoke_hold(stack):
    await make(stack, "consumer-group", 4)
    async with Producer(stack.bootstrap) as producer:
        await producer.send_many("consumer-group", ["x"] * 40, partitions=[i % 4 for i in range(40)])
    held, seen = {}, []

    async def on_revoke(consumer, partitions):
        for batch in held.pop(consumer, []):
            await batch.commit()

    async def run(consumer):
        async for batch in consumer:
            held.setdefault(consumer, []).append(batch)
            seen.extend((record.partition, record.offset) for record in batch)

    def member():
        return Consumer(
            stack.bootstrap, group="leaving", topics=["consumer-group"], on_revoke=on_revoke, **QUICK
        )

    async with member() as first, member() as second:
        loops = [asyncio.ensure_future(run(each)) for each in (first, second)]
        await until(lambda: len(first.assignment) == len(second.assignment) == 2)
        await until(lambda: len(set(seen)) == 40)
        start = time.monotonic()
        second.stop()
        await until(lambda: len(first.assignment) == 4)
        took = time.monotonic() - start
        first.stop()
        await asyncio.gather(*loops)
    assert took < 1
    async with Consumer(stack.bootstrap, group="leaving") as after:
        committed = await after.committed([("consumer-group", number) for number in range(4)])
    assert set(committed.values()) == {10}


async def test_topic_that_is_not_there_is_named(stack):
    async with Consumer(stack.bootstrap, group="none", topics=["그런-토픽"]) as consumer:
        with pytest.raises(RejectedError) as caught:
            await asyncio.wait_for(anext(consumer), 20)
    assert caught.value.op in {"consume", "subscribe"}
    async with Consumer(stack.bootstrap, group="none", topics=["no-such-topic"]) as consumer:
        with pytest.raises(RejectedError, match="no-such-topic: Broker: Unknown topic"):
            await asyncio.wait_for(anext(consumer), 20)
