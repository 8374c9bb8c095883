"""Bounded reads from a real broker: times out of order, gaps of compaction and transactions, no group."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import confluent_kafka
import confluent_kafka.admin
import pytest
import pytest_asyncio

import kafkapipe as kp
from kafkapipe.stack import Stack

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTES = [0, 5, 3, 9, 1, 7, 2, 8]  # when each record was made, after noon: not in the order of offsets


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


async def make(stack: Stack, topic: str, **settings: str) -> None:
    """A topic that keeps records however old their timestamps are."""
    config = {"retention.ms": "-1"} | {name.replace("_", "."): value for name, value in settings.items()}
    async with kp.Admin(stack.bootstrap) as admin:
        await admin.create_topic(topic, config=config)


async def write(stack: Stack, topic: str, values: list[str], **arguments: object) -> list[int]:
    """Their timestamps, as the broker has them."""
    async with kp.Producer(stack.bootstrap) as producer:
        result = await producer.send_many(topic, values, **arguments)
        assert result.failed == []
        return [result[index].timestamp for index in range(len(result))]


def values(stack: Stack, topic: str, **arguments: object) -> list[str]:
    table = kp.read(topic, bootstrap=stack.bootstrap, timeout=20, **arguments)
    rows = table.head(10_000)
    assert len(rows) == len(table) <= table.estimate().records
    return [row["value"].decode() for row in rows]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def unordered(stack: Stack) -> str:
    await make(stack, "read-unordered")
    await write(
        stack, "read-unordered", [f"{each}분" for each in MINUTES], timestamps=[at(each) for each in MINUTES]
    )
    return "read-unordered"


@pytest.mark.parametrize(
    ("start", "end", "minutes"),
    [
        ("earliest", "latest", MINUTES),
        (at(0), at(10), MINUTES),
        (at(5), "latest", [5, 9, 7, 8]),
        ("earliest", at(5), [0, 3, 1, 2]),
        (at(2), at(8), [5, 3, 7, 2]),
        (at(3), at(3.001), [3]),
        (at(3) + timedelta(microseconds=1), at(4), []),
        (at(9.5), "latest", []),
        (at(8), at(2), []),
        ("2026-01-01T21:05:00+09:00", "2026-01-01T12:08:00Z", [5, 7]),
        (2, at(4), [3, 1, 2]),
        (at(5), 4, [5, 9]),
        ("-1h", "latest", []),
    ],
)
async def test_a_bound_by_time_counts_for_each_record(stack, unordered, start, end, minutes):
    assert values(stack, unordered, start=start, end=end) == [f"{each}분" for each in minutes]


async def test_a_limit_counts_what_is_in_the_time(stack, unordered):
    assert values(stack, unordered, start=at(2), end=at(8), limit=3) == ["5분", "3분", "7분"]


async def test_times_that_the_broker_sets(stack):
    await make(stack, "read-appended", message_timestamp_type="LogAppendTime")
    before = await write(stack, "read-appended", ["하나", "둘"])
    while time.time() * 1000 <= before[-1] + 1:  # noqa: ASYNC110 - the clock
        await asyncio.sleep(0.001)
    split = datetime.now(UTC)
    await write(stack, "read-appended", ["셋"], timestamps=[at(0)])
    assert values(stack, "read-appended", end=split) == ["하나", "둘"]
    assert values(stack, "read-appended", start=split) == ["셋"]
    assert values(stack, "read-appended", start="-1h") == ["하나", "둘", "셋"]
    table = kp.read("read-appended", columns=["timestamp", "timestamp_type"], bootstrap=stack.bootstrap)
    assert {row["timestamp_type"] for row in table.head()} == {"LogAppendTime"}
    assert [row["timestamp"].timestamp() * 1000 for row in table.head(2)] == pytest.approx(before)


@pytest.mark.timeout(120)
async def test_a_compacted_topic_ends_in_a_gap(stack):
    await make(
        stack,
        "read-compacted",
        cleanup_policy="compact",
        segment_ms="1000",
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="1",
    )
    for turn in range(4):  # each in a segment of its own: their times are a minute apart
        keys = [f"k{number}" for number in range(10)]
        times = [datetime.now(UTC) - timedelta(minutes=9 - turn)] * 10
        await write(stack, "read-compacted", [f"{turn}.{key}" for key in keys], keys=keys, timestamps=times)
    last = [f"3.k{number}" for number in range(10)]
    while len(found := values(stack, "read-compacted")) == 40:  # noqa: ASYNC110 - the broker's cleaner
        await asyncio.sleep(0.2)
    assert found[-10:] == last
    assert set(found) < {f"{turn}.k{number}" for turn in range(4) for number in range(10)}
    start = time.monotonic()
    kept = {row["offset"] for row in kp.read("read-compacted", bootstrap=stack.bootstrap).head(100)}
    gap = min(set(range(40)) - kept)
    assert values(stack, "read-compacted", start=gap, end=gap + 1) == []
    assert values(stack, "read-compacted", start=25, end=31)[-1:] == ["3.k0"]
    assert time.monotonic() - start < 10


async def test_transactions_leave_gaps_at_the_end_and_what_is_open_is_not_waited_for(stack):
    await make(stack, "read-transactions")
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": stack.bootstrap, "transactional.id": "reader-test", "log_level": 0}
    )

    def begin(*texts: str) -> None:
        producer.begin_transaction()
        for text in texts:
            producer.produce("read-transactions", text)
        assert producer.flush(20) == 0

    producer.init_transactions(20)
    begin("a", "b")
    producer.commit_transaction(20)  # offset 2 is its marker
    assert values(stack, "read-transactions") == ["a", "b"]
    begin("버린 것")
    producer.abort_transaction(20)  # offset 4
    begin("c")
    producer.commit_transaction(20)  # offset 6
    assert values(stack, "read-transactions") == ["a", "b", "c"]
    assert values(stack, "read-transactions", start=2, end=5) == []
    assert values(stack, "read-transactions", isolation_level="read_uncommitted") == [
        "a",
        "b",
        "버린 것",
        "c",
    ]
    begin("열린 것")
    assert values(stack, "read-transactions") == ["a", "b", "c"]
    assert values(stack, "read-transactions", isolation_level="read_uncommitted")[-1] == "열린 것"
    producer.abort_transaction(20)


async def test_no_group_is_touched(stack, unordered):
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": stack.bootstrap})
    before = {each.group_id for each in admin.list_consumer_groups().result(20).valid}
    assert len(values(stack, unordered)) == len(MINUTES)
    assert {each.group_id for each in admin.list_consumer_groups().result(20).valid} == before


async def test_a_topic_that_is_not_there_is_told_and_not_made(stack):
    with pytest.raises(kp.RejectedError, match=r"read read-nothing: .*Unknown topic or partition: "):
        kp.read("read-nothing", bootstrap=stack.bootstrap)
    async with kp.Admin(stack.bootstrap) as admin:
        assert "read-nothing" not in [each.name for each in await admin.list_topics()]
