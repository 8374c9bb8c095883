"""Transactions against a real broker: who reads committed data sees exactly what was committed."""
# ruff: noqa: PT012 - the end of a block is what raises

import asyncio

import pyarrow
import pytest

import kafkapipe as kp
from kafkapipe import Admin, Consumer, FatalError, Producer, RejectedError, RetryableError

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]


async def make(stack, *topics, partitions=1):
    async with Admin(stack.bootstrap) as admin:
        for topic in topics:
            await admin.create_topic(topic, partitions=partitions)


async def read(stack, topic, count, partitions=1, **properties):
    """The values of so many records, as a consumer hands them out."""
    values = []
    async with Consumer(stack.bootstrap, **properties) as consumer:
        await consumer.assign([(topic, number) for number in range(partitions)], "earliest")
        while len(values) < count:
            async with asyncio.timeout(60):
                values += [record.value.decode() for record in await anext(consumer)]
    return values


async def committed(stack, topic, **properties):
    """What kp.read sees: it ends behind the markers of transactions."""
    table = await asyncio.to_thread(kp.read, topic, bootstrap=stack.bootstrap, config=properties)
    return [value.decode() for value in pyarrow.table(table)["value"].to_pylist()]


async def test_readers_see_what_was_committed_and_nothing_else(stack):
    topic = "transactions"
    await make(stack, topic)
    async with Producer(stack.bootstrap, transactional_id="live-색", linger_ms=1) as producer:
        async with producer.transaction():
            await producer.send_many(topic, ["빨강", "파랑"])
        with pytest.raises(ZeroDivisionError):
            async with producer.transaction():
                assert (await producer.send_many(topic, ["버림"] * 3)).delivered == 3
                raise ZeroDivisionError
        async with producer.transaction():
            await producer.send(topic, "노랑")
            await producer.flush()
            assert await committed(stack, topic) == ["빨강", "파랑"]  # while it is open
        everything = ["빨강", "파랑", "버림", "버림", "버림", "노랑"]
        assert await read(stack, topic, 3) == ["빨강", "파랑", "노랑"]
        assert await read(stack, topic, 6, isolation_level="read_uncommitted") == everything
        assert await committed(stack, topic) == ["빨강", "파랑", "노랑"]
        assert await committed(stack, topic, **{"isolation.level": "read_uncommitted"}) == everything
    async with Consumer(stack.bootstrap) as consumer:
        await consumer.assign([(topic, 0)])
        [(first, end)] = (await consumer.watermarks()).values()
    assert (first, end) == (0, 9)  # six records and three markers


async def test_second_producer_of_the_same_id_fences_the_first(stack):
    topic = "transactions-fenced"
    await make(stack, topic)
    async with (
        Producer(stack.bootstrap, transactional_id="live-fenced") as first,
        Producer(stack.bootstrap, transactional_id="live-fenced") as second,
    ):
        with pytest.raises(FatalError, match=r"another producer with the same transactional\.id") as caught:
            async with first.transaction():
                await first.send(topic, "of the first")
                async with second.transaction():
                    await second.send(topic, "둘째")
        assert caught.value.code == "_FENCED"
        with pytest.raises(FatalError, match=r"another producer with the same transactional\.id"):
            async with first.transaction():
                await first.send(topic, "again")
        async with second.transaction():
            await second.send(topic, "goes on")
    assert await committed(stack, topic) == ["둘째", "goes on"]


async def test_fenced_while_it_sends(stack):
    topic = "transactions-fenced-sending"
    await make(stack, topic)
    async with (
        Producer(stack.bootstrap, transactional_id="live-fenced-sending") as first,
        Producer(stack.bootstrap, transactional_id="live-fenced-sending") as second,
    ):
        with pytest.raises(FatalError) as caught:
            async with first.transaction():
                await first.send(topic, "of the first")
                async with second.transaction():
                    await second.send(topic, "둘째")
                await first.send(topic, "too late")
        assert caught.value.code == "_FENCED"
        assert isinstance(caught.value.__cause__, RetryableError)  # what the message failed with
    assert await committed(stack, topic) == ["둘째"]


async def transform(stack, consumer, source, target, total):
    """Reads source, writes target, with aborts on the way; each batch until it is committed."""
    done = tries = 0
    async with Producer(stack.bootstrap, transactional_id=f"live-{target}", linger_ms=1) as producer:
        async for batch in consumer:
            while True:
                tries += 1
                try:
                    async with producer.transaction() as transaction:
                        values = [record.value.decode() + "!" for record in batch]
                        assert not (await producer.send_many(target, values)).failed
                        await transaction.send_offsets(batch)
                        if tries % 3 != 0:
                            raise RetryableError("the program changed its mind")
                except RetryableError:
                    continue
                break
            done += len(batch)
            if done == total:
                return tries
    return tries


async def test_consume_transform_produce_is_exact_over_aborts(stack):
    source, target, total = "transactions-in", "transactions-out", 2_000
    await make(stack, source, target, partitions=2)
    values = [f'{{"이름":"홍길동 \\"{i}\\"","n":{9007199254740993 + i}}}' for i in range(total)]
    async with Producer(stack.bootstrap) as producer:
        assert not (await producer.send_many(source, values, partitions=[i % 2 for i in range(total)])).failed
    mine = {"group": "transactions", "topics": [source], "max_records": 300, "heartbeat_interval_ms": 100}
    async with Consumer(stack.bootstrap, **mine) as consumer:
        assert await transform(stack, consumer, source, target, total) >= 3
        assert sum((await consumer.committed()).values()) == total
    there = await read(stack, target, total, partitions=2)
    assert sorted(there) == sorted(value + "!" for value in values)
    assert sorted(await committed(stack, target)) == sorted(there)


async def test_batch_of_a_member_that_was_put_out_is_refused(stack):
    source, target = "transactions-lost", "transactions-lost-out"
    await make(stack, source, target)
    async with Producer(stack.bootstrap) as producer:
        await producer.send_many(source, ["하나", "둘"])
    slow = {"group": "transactions-lost", "max_poll_interval_ms": 6000, "session_timeout_ms": 6000}
    async with (
        Consumer(stack.bootstrap, topics=[source], **slow) as consumer,
        Producer(stack.bootstrap, transactional_id="live-lost") as producer,
    ):
        batch = await anext(consumer)
        async with Admin(stack.bootstrap) as admin:  # after max.poll.interval.ms the library leaves the group
            while (await admin.describe_group("transactions-lost")).members:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        with pytest.raises(RejectedError, match="send offsets") as caught:
            async with producer.transaction() as transaction:
                await producer.send_many(target, [record.value for record in batch])
                await transaction.send_offsets(batch)
        assert caught.value.code == "REVOKED"
        again = await anext(consumer)
        async with producer.transaction() as transaction:
            await producer.send_many(target, [record.value for record in again])
            await transaction.send_offsets(again)
    assert await committed(stack, target) == ["하나", "둘"]
