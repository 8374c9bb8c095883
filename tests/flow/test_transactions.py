"""Transactions as the program sees them.

The mock brokers write no markers and store no offsets of transactions: what readers see is in tests/live.
"""
# ruff: noqa: PT012 - the end of a block is what raises

import asyncio
import time

import pytest

from kafkapipe import (
    ClosedError,
    ConfigError,
    Consumer,
    DeadlineError,
    FatalError,
    Producer,
    RejectedError,
    RetryableError,
)

INIT_PRODUCER_ID, ADD_PARTITIONS, END, OFFSETS = 22, 24, 26, 28
PRODUCE = 0
NOT_COORDINATOR, CONCURRENT, TOPIC_AUTHORIZATION, FENCED = 16, 51, 29, 90
GROUP_AUTHORIZATION = 30


def made(cluster, **properties):
    return Producer(cluster.bootstrap, transactional_id="색-1", **{"linger_ms": 1, **properties})


async def test_block_commits_and_another_one_can_follow(cluster, read_all):
    cluster.create_topic("t", 1)
    async with made(cluster) as producer:
        for turn in ("하나", "둘"):
            async with producer.transaction():
                await producer.send("t", turn)
                pending = producer.try_send("t", f"{turn} not awaited")
            assert pending.done()
    there = [record.value.decode() for record in read_all("t")]
    assert there == ["하나", "하나 not awaited", "둘", "둘 not awaited"]


async def test_exception_aborts_and_what_waits_fails_as_given_up(cluster, read_all):
    cluster.create_topic("t", 1)
    async with made(cluster, linger_ms=20_000) as producer:
        with pytest.raises(ZeroDivisionError):
            async with producer.transaction():
                pending = producer.try_send("t", "never")
                raise ZeroDivisionError
        with pytest.raises(RetryableError, match="given up, it was not sent") as caught:
            await pending
        assert caught.value.code == "_PURGE_QUEUE"
        async with producer.transaction():
            pending = producer.try_send("t", "다시")
        assert (await pending).partition == 0
    assert [record.value.decode() for record in read_all("t")] == ["다시"]


async def test_cancelled_block_aborts(cluster, read_all):
    cluster.create_topic("t", 1)
    async with made(cluster) as producer:
        inside = asyncio.Event()

        async def work():
            async with producer.transaction():
                producer.try_send("t", "x")
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with producer.transaction():
            await producer.send("t", "y")


@pytest.mark.parametrize("request_", [INIT_PRODUCER_ID, END])
async def test_cancelled_waits_leave_a_producer_that_goes_on(cluster, request_):
    cluster.create_topic("t", 1)
    async with made(cluster) as producer:
        if request_ == END:
            async with producer.transaction():
                await producer.send("t", "warm")
        cluster.set_rtt(-1, 400)

        async def work():
            async with producer.transaction():
                producer.try_send("t", "x")

        task = asyncio.create_task(work())
        await asyncio.sleep(0.1)
        task.cancel()
        start = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - start < 20
        cluster.set_rtt(-1, 0)
        async with producer.transaction():
            assert (await producer.send("t", "after")).offset >= 0


async def test_loop_runs_on_while_the_coordinator_is_slow(cluster):
    cluster.create_topic("t", 1)
    cluster.set_rtt(-1, 300)
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    async with made(cluster) as producer:
        ticking = asyncio.create_task(tick())
        transaction = producer.transaction()
        await transaction.__aenter__()
        begun = ticks
        await producer.send("t", "x")
        sent = ticks
        await transaction.__aexit__(None, None, None)
        committed = ticks
        ticking.cancel()
        cluster.set_rtt(-1, 0)
    assert begun > 5  # a loop that stands ticks once
    assert committed - sent > 5


async def test_errors_that_pass_are_waited_for(cluster):
    cluster.create_topic("t", 1)
    async with made(cluster) as producer:
        cluster.push_errors(INIT_PRODUCER_ID, [NOT_COORDINATOR])
        async with producer.transaction():
            await producer.send("t", "x")
            cluster.push_errors(END, [NOT_COORDINATOR, CONCURRENT])


async def test_fenced_producer_says_so(cluster):
    cluster.create_topic("t", 1)
    async with made(cluster) as producer:
        with pytest.raises(FatalError, match=r"another producer with the same transactional\.id") as caught:
            async with producer.transaction():
                await producer.send("t", "x")
                cluster.push_errors(END, [FENCED])
        assert caught.value.code == "_FENCED"
        assert caught.value.op == "commit transaction"
        with pytest.raises(FatalError, match=r"make a new one.*another producer with the same") as caught:
            producer.try_send("t", "later")
        with pytest.raises(FatalError):
            async with producer.transaction():
                pytest.fail("it cannot begin")


async def test_transaction_that_must_be_aborted_can_be_done_again(cluster):
    cluster.create_topic("t", 1)
    cluster.create_topic("in", 1)
    async with made(cluster) as producer, Consumer(cluster.bootstrap, group="g") as consumer:
        async with producer.transaction():
            await producer.send("in", "x")
        await consumer.assign([("in", 0)], "earliest")
        batch = await anext(consumer)
        cluster.push_errors(OFFSETS, [GROUP_AUTHORIZATION])
        with pytest.raises(RetryableError) as caught:
            async with producer.transaction() as transaction:
                await producer.send("t", "x")
                await transaction.send_offsets(batch)
        assert caught.value.code == "GROUP_AUTHORIZATION_FAILED"
        async with producer.transaction() as transaction:
            await producer.send("t", "x")
            await transaction.send_offsets(batch)


async def test_error_of_send_offsets_aborts_also_when_it_is_caught(cluster):
    cluster.create_topic("in", 1)
    async with made(cluster) as producer, Consumer(cluster.bootstrap, group="g") as consumer:
        async with producer.transaction():
            await producer.send("in", "x")
        await consumer.assign([("in", 0)], "earliest")
        batch = await anext(consumer)
        await consumer.assign([])
        with pytest.raises(RejectedError, match=r"send offsets of in \[0\]: taken away") as caught:
            async with producer.transaction() as transaction:
                with pytest.raises(RejectedError):
                    await transaction.send_offsets(batch)
        assert caught.value.code == "REVOKED"
        async with producer.transaction():
            pass


async def test_failed_message_fails_the_whole_transaction(cluster):
    cluster.create_topic("t", 1)
    async with made(cluster) as producer:
        with pytest.raises(
            RejectedError, match=r"nothing of it was written: produce to t: .*too large"
        ) as caught:
            async with producer.transaction():
                result = await producer.send_many("t", ["fits", "x" * 2_000_000])
                assert result.delivered == 1
        assert caught.value.code == "MSG_SIZE_TOO_LARGE"
        with pytest.raises(RejectedError, match="message 0 is unfit"):
            async with producer.transaction():
                await producer.send_many("t", [object()])
        async with producer.transaction():
            await producer.send("t", "fits")


async def test_commit_without_an_answer_can_be_waited_for_again(cluster):
    cluster.create_topic("t", 1)
    async with made(cluster) as producer:
        async with producer.transaction():
            await producer.send("t", "connects")
        with pytest.raises(DeadlineError, match="commit transaction"):
            async with producer.transaction(timeout=1) as transaction:
                await producer.send("t", "x")
                cluster.set_rtt(-1, 20_000)
        with pytest.raises(RejectedError, match="has no result yet"):
            async with producer.transaction():
                pytest.fail("it cannot begin")
        cluster.set_rtt(-1, 0)
        cluster.set_up(-1, False)
        cluster.set_up(-1, True)
        await transaction.commit()
        async with producer.transaction():
            await producer.send("t", "y")


async def test_no_broker_is_an_error_in_time(cluster):
    cluster.set_up(-1, False)
    async with made(cluster) as producer:
        start = time.monotonic()
        with pytest.raises(DeadlineError, match=r"begin transaction: .*no answer within 0\.5 s"):
            async with producer.transaction(timeout=0.5):
                pytest.fail("it cannot begin")
        assert time.monotonic() - start < 20
        await producer.close(0.5)


async def test_wrong_uses_are_named(cluster):
    cluster.create_topic("t", 1)
    async with Producer(cluster.bootstrap) as producer:
        with pytest.raises(ConfigError, match="no transactional_id"):
            producer.transaction()
    with pytest.raises(ConfigError, match="idempotence"):
        async with made(cluster, enable_idempotence=False):
            pass
    async with made(cluster) as producer:
        async with producer.transaction():
            pass
        with pytest.raises(RejectedError, match=r"inside `async with producer\.transaction\(\)`"):
            await producer.send("t", "outside")
        async with producer.transaction() as transaction:
            with pytest.raises(RejectedError, match="one at a time"):
                async with producer.transaction():
                    pytest.fail("two at once")
        with pytest.raises(RejectedError, match="not open"):
            await transaction.commit()
        async with Consumer(cluster.bootstrap, group="g", enable_auto_commit=True) as consumer:
            await consumer.assign([("t", 0)])
            with pytest.raises(ConfigError, match="commits by itself"):
                consumer._must_send_offsets()


async def test_close_within_aborts(cluster, read_all):
    cluster.create_topic("t", 1)
    producer = made(cluster, linger_ms=20_000)
    await producer.start()
    with pytest.raises(ClosedError):
        async with producer.transaction():
            pending = producer.try_send("t", "x")
            await producer.close()
    with pytest.raises((RetryableError, ClosedError)):
        await pending
    assert read_all("t") == []
