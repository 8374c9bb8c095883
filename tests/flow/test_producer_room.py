"""A full queue, cancellation and closing: nothing is lost silently, nothing hangs."""

import asyncio

import pytest

from kafkapipe import ClosedError, DeadlineError, Producer, QueueFull, RejectedError, RetryableError


def small(cluster, **properties):
    """A producer whose queue holds ten messages."""
    return Producer(cluster.bootstrap, linger_ms=1, queue_buffering_max_messages=10, **properties)


def stuck(cluster, **properties):
    """The same, and what it sends waits for brokers that do not answer."""
    cluster.set_up(-1, False)
    return small(cluster, **properties)


async def fill(producer):
    return [producer.try_send("t", f"fill {i}") for i in range(10)]


async def soon(condition):
    """Until this holds; the test's own timeout is the bound."""
    while not condition():  # noqa: ASYNC110 - a change of the core's
        await asyncio.sleep(0)


async def test_batch_larger_than_the_queue_goes_through(cluster, read_all):
    cluster.create_topic("t", 1)
    values = [str(i) for i in range(5_000)]
    async with small(cluster) as producer:
        result = await producer.send_many("t", values, headers=[{"i": value} for value in values])
        assert producer.queue_length == 0
    assert result.delivered == 5_000
    assert [record.value.decode() for record in read_all("t")] == values


async def test_waiting_sends_get_room_in_their_turn(cluster, read_all):
    cluster.create_topic("t", 1)
    cluster.set_up(-1, False)
    async with small(cluster) as producer:
        await fill(producer)
        sends = [
            asyncio.create_task(producer.send_many("t", [f"{i}-{j}" for j in range(7)])) for i in range(20)
        ]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            producer.try_send("t", "overtakes")
        cluster.set_up(-1, True)
        results = await asyncio.gather(*sends)
    assert all(result.delivered == 7 for result in results)
    there = [record.value.decode() for record in read_all("t")]
    assert there == [f"fill {i}" for i in range(10)] + [f"{i}-{j}" for i in range(20) for j in range(7)]


async def test_try_send_is_refused_at_once_when_the_queue_is_full(cluster, read_all):
    cluster.create_topic("t", 1)
    async with stuck(cluster) as producer:
        pending = await fill(producer)
        with pytest.raises(QueueFull, match=r"queue\.buffering\.max\.messages") as caught:
            producer.try_send("t", "one more")
        assert isinstance(caught.value, RetryableError)
        assert producer.queue_length == 10
        cluster.set_up(-1, True)
        await asyncio.gather(*pending)
        await producer.try_send("t", "has room")
    assert len(read_all("t")) == 11


async def test_try_send_many_takes_all_or_nothing(cluster, read_all):
    cluster.create_topic("t", 1)
    async with stuck(cluster) as producer:
        first = producer.try_send_many("t", ["a"] * 6)
        with pytest.raises(QueueFull):
            producer.try_send_many("t", ["b"] * 5)
        assert producer.queue_length == 6
        second = producer.try_send_many("t", ["c"] * 4)
        with pytest.raises(RejectedError, match="11 messages of 11 bytes never fit"):
            producer.try_send_many("t", ["d"] * 11)
        cluster.set_up(-1, True)
        assert (await first).delivered == 6
        assert (await second).delivered == 4
    assert [record.value for record in read_all("t")] == [b"a"] * 6 + [b"c"] * 4


async def test_room_is_counted_in_bytes_too(cluster, read_all):
    cluster.create_topic("t", 1)
    cluster.set_up(-1, False)
    async with Producer(cluster.bootstrap, linger_ms=1, queue_buffering_max_kbytes=1) as producer:
        pending = producer.try_send("t", "가" * 200)
        with pytest.raises(QueueFull):
            producer.try_send("t", "나" * 200)
        with pytest.raises(RejectedError, match="never fit"):
            producer.try_send("t", "다" * 400)
        waiting = asyncio.create_task(producer.send_many("t", ["라" * 300, "마" * 400, "바"]))
        await asyncio.sleep(0)
        cluster.set_up(-1, True)
        await pending
        result = await waiting
    assert [index for index, _ in result.failed] == [1]
    assert [record.value.decode()[0] for record in read_all("t")] == ["가", "라", "바"]


async def test_room_comes_back_with_every_result(cluster, read_all):
    cluster.create_topic("t", 1)
    async with Producer(cluster.bootstrap, linger_ms=0, queue_buffering_max_kbytes=1) as producer:
        for _ in range(20):
            await producer.try_send("t", "가" * 300)
    assert len(read_all("t")) == 20


async def test_newcomer_does_not_overtake_those_who_wait(cluster, read_all):
    cluster.create_topic("t", 1)
    async with stuck(cluster) as producer:
        pending = await fill(producer)
        large = asyncio.create_task(producer.send_many("t", [f"large {i}" for i in range(30)]))
        await asyncio.sleep(0)
        cluster.set_up(-1, True)
        await pending[0]  # now there is room, and those who wait have not been told yet
        with pytest.raises(QueueFull):
            producer.try_send("t", "jumps the queue")
        await producer.send("t", "newcomer")
        await large
    assert [record.value for record in read_all("t")][40:] == [b"newcomer"]


async def test_cancelled_wait_for_room_leaves_no_trace(cluster, read_all):
    cluster.create_topic("t", 1)
    async with stuck(cluster) as producer:
        pending = await fill(producer)
        waiting = [asyncio.create_task(producer.send("t", f"waits {i}")) for i in range(5)]
        await asyncio.sleep(0)
        for task in (waiting[0], waiting[2]):
            task.cancel()
        cluster.set_up(-1, True)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.gather(*pending)
    assert [type(result).__name__ for result in results] == [
        "CancelledError", "RecordMetadata", "CancelledError", "RecordMetadata", "RecordMetadata",
    ]  # fmt: skip
    there = [record.value.decode() for record in read_all("t")]
    assert there[10:] == ["waits 1", "waits 3", "waits 4"]


async def test_cancelled_batch_sends_what_was_queued_before(cluster, read_all):
    cluster.create_topic("t", 1)
    async with stuck(cluster) as producer:
        task = asyncio.create_task(producer.send_many("t", [str(i) for i in range(25)]))
        await soon(lambda: producer.queue_length == 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cluster.set_up(-1, True)
        await producer.send("t", "after")
    assert [record.value.decode() for record in read_all("t")] == [*map(str, range(10)), "after"]


async def test_cancelled_wait_for_a_result_does_not_cancel_the_message(cluster, read_all):
    cluster.create_topic("t", 1)
    async with stuck(cluster) as producer:
        task = asyncio.create_task(producer.send("t", "goes out"))
        await soon(lambda: producer.queue_length == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cluster.set_up(-1, True)
        await producer.flush(60)
    assert [record.value for record in read_all("t")] == [b"goes out"]


async def test_close_sends_what_is_queued(cluster, read_all):
    cluster.create_topic("t", 1)
    producer = Producer(cluster.bootstrap, linger_ms=10_000)
    await producer.start()
    pending = producer.try_send("t", "마지막")
    await asyncio.gather(producer.close(), producer.close())
    assert (await pending).offset == 0
    assert [record.value.decode() for record in read_all("t")] == ["마지막"]


async def test_close_gives_up_in_time_and_every_result_says_so(cluster):
    producer = stuck(cluster)
    await producer.start()
    pending = await fill(producer)
    waiting = [asyncio.create_task(producer.send("t", "waits")) for _ in range(3)]
    await asyncio.sleep(0)
    start = asyncio.get_running_loop().time()
    await producer.close(0.5)
    assert asyncio.get_running_loop().time() - start < 2.5
    results = await asyncio.gather(*pending, *waiting, return_exceptions=True)
    assert {type(result) for result in results} == {ClosedError}
    assert "it was not sent" in results[0].message


async def test_close_while_messages_are_in_flight_says_they_may_be_there(cluster):
    cluster.create_topic("t", 1)
    producer = small(cluster)
    await producer.start()
    await producer.send("t", "connects")
    cluster.set_rtt(-1, 20_000)
    pending = producer.try_send("t", "in flight")
    await producer.close(0.5)
    with pytest.raises(ClosedError, match="it may be in the topic"):
        await pending


async def test_cancelled_close_still_ends_the_client(cluster):
    producer = stuck(cluster)
    await producer.start()
    pending = producer.try_send("t", "x")
    closing = asyncio.create_task(producer.close(0.5))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(ClosedError):
        await pending
    await producer.close()
    with pytest.raises(ClosedError):
        producer.try_send("t", "after")


async def test_cancelled_warm_does_not_hinder_closing(cluster):
    producer = stuck(cluster)
    await producer.start()
    task = asyncio.create_task(producer.warm(["t"], timeout=30))
    await asyncio.sleep(0.05)
    task.cancel()
    await producer.close(0)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_deadline_frees_the_queue_for_those_who_wait(cluster):
    async with stuck(cluster, delivery_timeout_ms=300) as producer:
        pending = await fill(producer)
        waiting = asyncio.create_task(producer.send("t", "waits"))
        results = await asyncio.gather(*pending, waiting, return_exceptions=True)
    assert {type(result) for result in results} == {DeadlineError}
