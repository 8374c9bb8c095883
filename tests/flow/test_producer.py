"""What is produced is in the topic, once, unchanged, and each message's result says where."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
import uvloop

from kafkapipe import (
    BatchResult,
    ClosedError,
    DeadlineError,
    FatalError,
    MockCluster,
    Producer,
    RecordMetadata,
    RejectedError,
    RetryableError,
)

PRODUCE = 0  # Kafka's number of this request
NOT_LEADER = 6
OUT_OF_ORDER = 45
NOT_ENOUGH_REPLICAS = 19
DISCONNECT = -195
MSG_SIZE_TOO_LARGE = 10

AWKWARD = [
    "빨강",
    b"",
    None,
    b"a\0b",
    'say "hello"\n',
    "9007199254740993",
    bytearray(b"\xff\xfe"),
    memoryview(b"window")[1:4],
    "x" * 100_000,
]


def as_bytes(value: object) -> bytes | None:
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else bytes(value)


async def test_values_arrive_as_they_were(cluster, read_all):
    async with Producer(cluster.bootstrap, linger_ms=1) as producer:
        for value in AWKWARD:
            await producer.send("t", value, key=value, partition=0)
    expected = [as_bytes(value) for value in AWKWARD]
    records = read_all("t", 4)
    assert [record.value for record in records] == expected
    assert [record.key for record in records] == expected


async def test_batch_of_ten_thousand_has_a_result_for_each_message(cluster, read_all):
    cluster.create_topic("t", 3)
    short = AWKWARD[:-1]
    values = [f'{{"userName":"홍길동","n":{i}}}' if i % 7 else short[i % len(short)] for i in range(10_000)]
    keys = [None if i % 3 else f"키{i}" for i in range(10_000)]
    headers = [None if i % 2 else [("순서", str(i)), ("비어", None), ("순서", b"\0")] for i in range(10_000)]
    timestamps = [1_700_000_000_000 + i for i in range(10_000)]
    async with Producer(cluster.bootstrap) as producer:
        result = await producer.send_many("t", values, keys=keys, headers=headers, timestamps=timestamps)

    assert isinstance(result, BatchResult)
    assert (result.delivered, result.failed, len(result)) == (10_000, [], 10_000)
    there = {(record.partition, record.offset): record for record in read_all("t", 3)}
    assert len(there) == 10_000
    for i, metadata in enumerate(result):
        record = there[metadata.partition, metadata.offset]
        assert record.value == as_bytes(values[i])
        assert record.key == as_bytes(keys[i])
        assert record.timestamp == timestamps[i]
        wanted = headers[i] and [(name, as_bytes(value)) for name, value in headers[i]]
        assert record.headers == wanted


async def test_metadata_says_where_the_record_is(cluster):
    cluster.create_topic("t", 3)
    async with Producer(cluster.bootstrap, linger_ms=1) as producer:
        first = await producer.send("t", "하나", partition=2)
        second = await producer.send("t", "둘", partition=2)
    assert isinstance(first, RecordMetadata)
    assert (first.topic, first.partition, first.offset) == ("t", 2, 0)
    assert (second.topic, second.partition, second.offset) == ("t", 2, 1)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 1, 10, 0, 0, 123_999, UTC),
        datetime(2026, 1, 1, 19, 0, 0, 123_000, timezone(timedelta(hours=9))),
        1767261600123,
    ],
)
async def test_timestamp_is_a_datetime_or_milliseconds(cluster, read_all, moment):
    async with Producer(cluster.bootstrap, linger_ms=1) as producer:
        await producer.send("t", timestamp=moment, partition=0)
    assert [record.timestamp for record in read_all("t", 4)] == [1767261600123]


async def test_headers_are_pairs_or_a_mapping(cluster, read_all):
    async with Producer(cluster.bootstrap, linger_ms=1) as producer:
        await producer.send("t", headers={"이름": "홍길동", "none": None}, partition=0)
        await producer.send("t", headers=(pair for pair in [["a", b"1"], ("a", b"")]), partition=0)
        await producer.send("t", headers=[], partition=0)
    read = [record.headers for record in read_all("t", 4)]
    assert read == [[("이름", "홍길동".encode()), ("none", None)], [("a", b"1"), ("a", b"")], None]


async def test_message_that_is_too_large_fails_alone(cluster, read_all):
    cluster.create_topic("t", 1)
    values = ["a", "x" * 2_000_000, "b"]
    async with Producer(cluster.bootstrap) as producer:
        result = await producer.send_many("t", values)
        with pytest.raises(RejectedError, match=r"message\.max\.bytes") as caught:
            await producer.send("t", values[1])
    assert caught.value.code == "MSG_SIZE_TOO_LARGE"
    assert caught.value.op == "produce"
    [(index, error)] = result.failed
    assert (index, type(error), result.delivered) == (1, RejectedError, 2)
    assert result[1].message == error.message
    assert [record.value for record in read_all("t")] == [b"a", b"b"]


async def test_set_that_is_too_large_is_sent_message_by_message(cluster, read_all):
    cluster.create_topic("t", 2)
    values = [f'"{i}" 홍길동' for i in range(300)]
    headers = [[("순서", str(i))] for i in range(300)]
    timestamps = [1_700_000_000_000 + i for i in range(300)]
    async with Producer(cluster.bootstrap, linger_ms=50) as producer:
        cluster.push_errors(PRODUCE, [MSG_SIZE_TOO_LARGE])
        result = await producer.send_many(
            "t", values, keys=values, headers=headers, timestamps=timestamps, partitions=[1] * 300
        )
        assert [metadata.offset for metadata in result] == list(range(300))
        assert producer.queue_length == 0
        assert (await producer.send("t", "after", partition=1)).offset == 300
    records = read_all("t", 2)
    assert [record.value.decode() for record in records] == [*values, "after"]
    assert [record.key.decode() for record in records[:300]] == values
    assert [record.timestamp for record in records[:300]] == timestamps
    assert [record.headers for record in records[:300]] == [
        [(name, value.encode()) for name, value in each] for each in headers
    ]


async def test_what_is_sent_while_others_are_sent_again_stays_behind_them(cluster, read_all):
    cluster.create_topic("t", 1)
    async with Producer(cluster.bootstrap, linger_ms=20) as producer:
        await producer.send("t", "first")
        cluster.set_rtt(-1, 100)
        cluster.push_errors(PRODUCE, [MSG_SIZE_TOO_LARGE])
        again = [producer.try_send("t", f"again {i}") for i in range(30)]
        await again[0]  # alone: the others follow, one by one
        behind = producer.try_send_many("t", [f"behind {i}" for i in range(5)])
        await asyncio.gather(*again, behind)
        cluster.set_rtt(-1, 0)
    there = [record.value.decode() for record in read_all("t")]
    assert there == ["first", *(f"again {i}" for i in range(30)), *(f"behind {i}" for i in range(5))]


async def test_purge_gives_every_message_a_result_at_once(cluster, read_all):
    cluster.create_topic("t", 1)
    async with Producer(cluster.bootstrap, linger_ms=1, queue_buffering_max_messages=10) as producer:
        await producer.send("t", "connects")
        cluster.set_rtt(-1, 20_000)
        on_their_way = [producer.try_send("t", f"on its way {i}") for i in range(2)]
        await asyncio.sleep(0.1)
        cluster.set_up(-1, False)
        queued = [producer.try_send("t", f"queued {i}") for i in range(8)]
        waiting = asyncio.create_task(producer.send("t", "가장 나중"))
        await asyncio.sleep(0)
        await producer.purge()
        assert all(future.done() for future in [*on_their_way, *queued])
        for future in [*on_their_way, *queued]:
            assert isinstance(future.exception(), RetryableError)
        assert {future.exception().code for future in queued} == {"_PURGE_QUEUE"}
        cluster.set_rtt(-1, 0)
        cluster.set_up(-1, True)
        assert (await waiting).offset >= 1
        await producer.send("t", "goes on")
    there = [record.value.decode() for record in read_all("t")]
    assert there[0] == "connects"
    assert there[-2:] == ["가장 나중", "goes on"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"value": 3}, "value is int: give str, bytes, a contiguous buffer or None"),
        ({"value": "\ud800"}, "value is str: give text without lone surrogates"),
        ({"value": memoryview(b"abcd")[::2]}, "contiguous buffer"),
        ({"key": object()}, "key is object"),
        ({"partition": -1}, "partition is out of range"),
        ({"partition": "0"}, "partition is str: give int or None"),
        ({"partition": 2**40}, "partition is out of range"),
        ({"timestamp": -5}, "timestamp is out of range"),
        ({"timestamp": "now"}, "timestamp is str: give milliseconds since 1970"),
        ({"headers": 7}, "headers is int: give pairs of name and value"),
        ({"headers": ["ab"]}, "header is str: give a pair"),
        ({"headers": [("a", 1)]}, "value of a header is int"),
        ({"headers": [(b"a", "1")]}, "name of a header is bytes: give str"),
    ],
)
async def test_unfit_argument_is_named_at_once(cluster, arguments, words):
    async with Producer(cluster.bootstrap) as producer:
        with pytest.raises(RejectedError, match=words) as caught:
            await producer.send("색", **{"value": "x", **arguments})
        with pytest.raises(RejectedError, match=words):
            producer.try_send("색", **{"value": "x", **arguments})
        assert caught.value.message.startswith("produce to 색: ")
        assert producer.queue_length == 0


async def test_unfit_messages_of_a_batch_fail_alone(cluster, read_all):
    cluster.create_topic("t", 1)
    count = 9_000  # more than one portion
    values = [object() if i % 1000 == 500 else str(i) for i in range(count)]
    async with Producer(cluster.bootstrap) as producer:
        result = await producer.send_many("t", values, headers=[{"i": str(i)} for i in range(count)])
    assert [index for index, _ in result.failed] == list(range(500, count, 1000))
    assert "message 8500: value is object" in result.failed[-1][1].message
    there = [record.value for record in read_all("t")]
    assert there == [value.encode() for value in values if isinstance(value, str)]


async def test_sequences_that_do_not_fit_are_refused_as_a_whole(cluster):
    async with Producer(cluster.bootstrap) as producer:
        with pytest.raises(ValueError, match="keys has 1 items for 2 messages"):
            await producer.send_many("t", ["a", "b"], keys=["k"])
        with pytest.raises(TypeError, match="headers must be a sequence with an item for each message"):
            await producer.send_many("t", ["a", "b"], headers={"for": "all"})
        with pytest.raises(TypeError, match="values must be a sequence"):
            await producer.send_many("t", "text")
        with pytest.raises(TypeError, match="topic must be str"):
            await producer.send(b"t", "a")
        assert producer.queue_length == 0


async def test_values_may_come_from_an_iterator_and_be_none_at_all(cluster, read_all):
    cluster.create_topic("t", 1)
    async with Producer(cluster.bootstrap) as producer:
        result = await producer.send_many("t", (str(i) for i in range(3)))
        nothing = await producer.send_many("t", [])
    assert (result.delivered, nothing.delivered, nothing.failed, len(nothing)) == (3, 0, [], 0)
    assert [record.value for record in read_all("t")] == [b"0", b"1", b"2"]


async def test_explicit_partitions_hold_for_the_very_first_messages(cluster, read_all):
    cluster.create_topic("t", 12)
    cluster.set_rtt(-1, 20)
    partitions = [i * 7 % 12 for i in range(600)]
    async with Producer(cluster.bootstrap) as producer:
        result = await producer.send_many("t", [str(i) for i in range(600)], partitions=partitions)
        with pytest.raises(RejectedError, match="the topic has no partition of this number"):
            await producer.send("t", "x", partition=12)
    assert [metadata.partition for metadata in result] == partitions
    there = [(record.partition, int(record.value)) for record in read_all("t", 12)]
    assert there == sorted((partition, i) for i, partition in enumerate(partitions))


async def test_order_is_kept_over_batches_and_errors_are_tried_again(cluster, read_all):
    cluster.create_topic("t", 1)
    cluster.push_errors(PRODUCE, [NOT_LEADER, DISCONNECT, NOT_ENOUGH_REPLICAS, 0, NOT_LEADER, DISCONNECT])
    # one request at a time: mock brokers do not check sequence numbers, on which idempotence relies for more
    async with Producer(cluster.bootstrap, linger_ms=0, retry_backoff_ms=10, max_in_flight=1) as producer:
        sends = [producer.send_many("t", [f"{i}-{j}" for j in range(20)]) for i in range(50)]
        results = await asyncio.gather(*sends)
    assert all(not result.failed for result in results)
    there = [record.value.decode() for record in read_all("t")]
    assert there == [f"{i}-{j}" for i in range(50) for j in range(20)]


async def test_sends_from_many_tasks_at_once(cluster, read_all):
    cluster.create_topic("t", 2)
    async with Producer(cluster.bootstrap, linger_ms=1) as producer:
        found = await asyncio.gather(*(producer.send("t", f"{i}") for i in range(2_000)))
    places = {(metadata.partition, metadata.offset): f"{i}".encode() for i, metadata in enumerate(found)}
    assert places == {(record.partition, record.offset): record.value for record in read_all("t", 2)}


async def test_broker_that_is_down_is_a_deadline_error_in_time(cluster):
    cluster.create_topic("t", 1)
    properties = {
        "linger.ms": 1,
        "delivery.timeout.ms": 500,
        "reconnect.backoff.ms": 10,
        "reconnect.backoff.max.ms": 50,
    }
    async with Producer(cluster.bootstrap, config=properties) as producer:
        await producer.send("t", "here")
        cluster.set_up(-1, False)
        start = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineError, match=r"Message timed out: 127\.0\.0\.1:\d+/") as caught:
            await producer.send("t", "lost")
        took = asyncio.get_running_loop().time() - start
        assert caught.value.code == "_MSG_TIMED_OUT"
        assert 0.4 < took < 3
        cluster.set_up(-1, True)
        await producer.send("t", "back again")


async def test_fatal_error_ends_the_producer(cluster):
    cluster.create_topic("t", 1)
    async with Producer(cluster.bootstrap, linger_ms=1) as producer:
        await producer.send("t", "good")
        cluster.push_errors(PRODUCE, [OUT_OF_ORDER])
        for _ in range(2):
            with pytest.raises(FatalError, match="out of order sequence number"):
                await producer.send("t", "bad")
        with pytest.raises(FatalError, match="make a new one"):
            await producer.send_many("t", ["after"])
        with pytest.raises(FatalError, match="make a new one"):
            producer.try_send("t", "after")


async def test_warm_learns_of_topics_and_names_what_is_wrong(cluster):
    cluster.create_topic("t", 3)
    async with Producer(cluster.bootstrap) as producer:
        await producer.warm(["t"])
        with pytest.raises(RejectedError, match="topic a"):
            await producer.warm(["a\0b"])
        cluster.set_up(-1, False)
        with pytest.raises(DeadlineError, match=r"no answer within 0\.5 s"):
            await producer.warm(["other"], timeout=0.5)


async def test_first_message_does_not_wait_for_a_second(cluster):
    cluster.create_topic("t", 3)
    async with Producer(cluster.bootstrap, linger_ms=1) as producer:
        await producer.warm(["t"])
        start = asyncio.get_running_loop().time()
        await producer.send("t", "first")
        assert asyncio.get_running_loop().time() - start < 0.8


async def test_flush_sends_what_lingers(cluster):
    cluster.create_topic("t", 1)
    async with Producer(cluster.bootstrap, linger_ms=60_000) as producer:
        pending = producer.try_send("t", "어서")
        cluster.set_rtt(-1, 10_000)
        with pytest.raises(DeadlineError, match="flush: 1 messages have no result"):
            await producer.flush(0.3)
        cluster.set_rtt(-1, 0)
        await producer.flush(60)
        assert pending.done()
        assert producer.queue_length == 0
        await producer.flush(0)


async def test_acks_are_what_was_asked_for(cluster):
    cluster.create_topic("t", 1)
    async with Producer(cluster.bootstrap, acks=1) as producer:
        assert (await producer.send("t", "one")).offset == 0
    async with Producer(cluster.bootstrap, acks=0) as producer:
        assert (await producer.send("t", "none")).offset == -1


def test_runs_on_uvloop():
    async def main() -> None:
        with MockCluster() as cluster:
            async with Producer(cluster.bootstrap, queue_buffering_max_messages=10) as producer:
                assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
                result = await producer.send_many("t", ["빨강"] * 1_000)
                assert result.delivered == 1_000

    uvloop.run(main())


async def test_producer_that_is_not_started_or_closed_says_so(cluster):
    producer = Producer(cluster.bootstrap)
    with pytest.raises(ClosedError, match="not started"):
        await producer.send("t", "x")
    await producer.close()
    async with producer:
        assert producer.queue_length == 0
    for use in (producer.try_send, producer.try_send_many):
        with pytest.raises(ClosedError, match="closed"):
            use("t", ["x"])
    with pytest.raises(ClosedError, match="make a new one"):
        await producer.start()
    await producer.close()


async def test_broker_that_is_not_there_is_named_when_the_message_is_due():
    async with Producer("127.0.0.1:1", delivery_timeout_ms=300, linger_ms=1) as producer:
        with pytest.raises(DeadlineError, match=r"127\.0\.0\.1:1.*delivery\.timeout\.ms") as caught:
            await producer.send("색", "x")
        assert caught.value.op == "produce"
        result = await producer.send_many("색", ["x", "y"])
        assert [type(error) for _, error in result.failed] == [DeadlineError, DeadlineError]


async def test_who_is_cancelled_still_sends_what_the_brokers_take(cluster, read_all):
    """Ctrl-C must not lose what was queued, as long as it does not have to wait for brokers that are away."""
    futures = []

    async def work():
        async with Producer(cluster.bootstrap, linger_ms=5_000) as producer:
            await producer.warm("t")
            futures.append(producer.try_send_many("t", [f"한 줄 {n}" for n in range(20_000)]))
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    while not futures:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await futures[0]).delivered == 20_000
    assert len({record.value for record in read_all("t", 4)}) == 20_000
