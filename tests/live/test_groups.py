"""Consumer groups on a real broker, as another client's consumers make them."""

import asyncio
import json
import sys
import uuid
from datetime import UTC, datetime

import confluent_kafka
import pytest

from kafkapipe import Admin, Producer, RejectedError

pytestmark = pytest.mark.live
ODD = '그룹 "인용"\n둘째'


@pytest.fixture
async def admin(stack):
    async with Admin(stack.bootstrap) as client:
        yield client


@pytest.fixture
async def topic(stack, admin):
    """A topic of two partitions, ten records in each, one a minute from 2026 on."""
    name = f"groups-{uuid.uuid4().hex}"
    await admin.create_topic(name, partitions=2)
    first = datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000
    async with Producer(stack.bootstrap) as producer:
        result = await producer.send_many(
            name,
            [f"색 {number}" for number in range(20)],
            partitions=[0] * 10 + [1] * 10,
            timestamps=[int(first) + 60_000 * (number % 10) for number in range(20)],
        )
    assert not result.failed
    return name


@pytest.fixture
async def member(stack):
    """``await member(group, topic)``: a consumer of another client that has got its partitions."""
    consumers = []

    async def join(group, topic):
        settings = {"bootstrap.servers": stack.bootstrap, "group.id": group, "client.id": "타인"}
        consumers.append(confluent_kafka.Consumer({**settings, "auto.offset.reset": "earliest"}))
        consumers[-1].subscribe([topic])
        while not consumers[-1].assignment():
            await asyncio.to_thread(consumers[-1].poll, 0.1)
        return consumers[-1]

    yield join
    for consumer in consumers:
        await asyncio.to_thread(consumer.close)


def places(resets):
    return [(each.partition, each.before, each.after) for each in resets]


def committed_by_another_client(stack, group, topic):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": stack.bootstrap, "group.id": group})
    wanted = [confluent_kafka.TopicPartition(topic, number) for number in range(2)]
    offsets = [each.offset for each in consumer.committed(wanted, 20)]
    consumer.close()
    return offsets


async def test_members_offsets_and_lag(admin, topic, member):
    consumer = await member(ODD, topic)
    consumer.commit(offsets=[confluent_kafka.TopicPartition(topic, 1, 4)], asynchronous=False)
    assert (ODD, "Stable") in [(group.name, group.state) for group in await admin.list_groups()]
    found = await admin.describe_group(ODD)
    [only] = found.members
    assert (found.state, found.assignor, found.coordinator) == ("Stable", "range", 1)
    assert (only.client, only.host) == ("타인", "/127.0.0.1")
    assert only.partitions == ((topic, 0), (topic, 1))
    assert [(each.partition, each.committed, each.end, each.lag) for each in found.offsets] == [
        (0, None, 10, None),
        (1, 4, 10, 6),
    ]
    assert {each.member for each in found.offsets} == {only.id}
    assert found.lag == 6


async def test_a_group_with_members_is_neither_reset_nor_deleted(stack, admin, topic, member):
    await member("groups-busy", topic)
    with pytest.raises(RejectedError, match=r"groups-busy: it is not empty \(Stable, 1 members: 타인 on 127"):
        await admin.reset_offsets("groups-busy", "earliest", topics=[topic])
    with pytest.raises(RejectedError) as caught:
        await admin.delete_group("groups-busy")
    assert caught.value.code == "NON_EMPTY_GROUP"
    assert "groups-busy: " in caught.value.message
    assert "stop its consumers first" in caught.value.message
    with pytest.raises(RejectedError) as caught:  # Kafka's own refusal, as when a member joins in between
        await admin.call("commit", "groups-busy", [(topic, 0, 1)], timeout=10)
    assert caught.value.code == "NON_EMPTY_GROUP"
    assert committed_by_another_client(stack, "groups-busy", topic) == [-1001, -1001]


async def test_reset_in_every_way(stack, admin, topic):
    group = "groups-reset"

    async def reset(*arguments, **options):
        return places(await admin.reset_offsets(group, *arguments, **options))

    assert await reset("latest", topics=[topic]) == [(0, None, 10), (1, None, 10)]
    assert await reset(7, topics=[(topic, 1)]) == [(1, 10, 7)]
    assert await reset(shift=-4) == [(0, 10, 6), (1, 7, 3)]
    assert await reset(shift=100, dry_run=True) == [(0, 6, 10), (1, 3, 10)]
    assert committed_by_another_client(stack, group, topic) == [6, 3]
    assert await reset(datetime(2026, 1, 1, 0, 4, 30, tzinfo=UTC)) == [(0, 6, 5), (1, 3, 5)]
    assert await reset(datetime(2027, 1, 1, tzinfo=UTC)) == [(0, 5, 10), (1, 5, 10)]
    await admin.delete_records(topic, {0: 2})
    assert await reset("earliest") == [(0, 10, 2), (1, 10, 0)]
    assert committed_by_another_client(stack, group, topic) == [2, 0]


async def test_a_consumer_goes_on_from_where_the_group_was_put(stack, admin, topic):
    await admin.reset_offsets("groups-on", 8, topics=[topic])
    consumer = confluent_kafka.Consumer({"bootstrap.servers": stack.bootstrap, "group.id": "groups-on"})
    consumer.subscribe([topic])
    read = []
    while len(read) < 4:
        message = await asyncio.to_thread(consumer.poll, 1)
        read += [(message.partition(), message.offset())] if message else []
    await asyncio.to_thread(consumer.close)
    assert sorted(read) == [(0, 8), (0, 9), (1, 8), (1, 9)]


@pytest.mark.parametrize(
    ("topics", "words"),
    [
        (None, "it has no offsets yet: name the topics"),
        (["groups-none"], "groups-none: .*check its name"),
        ([("groups-small", 7)], "groups-small has no partition 7, it has 1"),
    ],
)
async def test_a_reset_of_what_is_not_there_is_refused(admin, topics, words):
    if "groups-small" not in [topic.name for topic in await admin.list_topics()]:
        await admin.create_topic("groups-small")
    with pytest.raises(RejectedError, match=words):
        await admin.reset_offsets("groups-nobody", "earliest", topics=topics)


async def test_a_group_that_is_not_there(admin):
    for call in (admin.describe_group, admin.delete_group):
        with pytest.raises(RejectedError, match="group groups-none: ") as caught:
            await call("groups-none")
        assert caught.value.code == "GROUP_ID_NOT_FOUND"


async def cli(stack, *arguments):
    pipe = asyncio.subprocess.PIPE
    words = ("-m", "kafkapipe", "--bootstrap", stack.bootstrap, "groups", *arguments)
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_command_line_from_reset_to_delete(stack, admin, topic):
    group = f"{ODD}, 명령줄"
    code, out, _ = await cli(stack, "reset", group, "--to", "3", "--topic", f"{topic}:0,1", "--json")
    assert code == 0
    assert json.loads(out)[1] == {"topic": topic, "partition": 1, "before": None, "after": 3}
    code, out, _ = await cli(stack, "reset", group, "--shift", "-1", "--dry-run")
    assert (code, out.splitlines()[-1]) == (0, "nothing was changed")
    code, out, _ = await cli(stack, "reset", group, "--to", "-1h", "--topic", f"{topic}:1")
    assert code == 0
    code, out, _ = await cli(stack, "describe", group, "--json")
    found = json.loads(out)
    assert (found["name"], found["state"], found["lag"]) == (group, "Empty", 7)
    assert [each["committed"] for each in found["offsets"]] == [3, 10]
    code, out, _ = await cli(stack, "list", "--json")
    assert {"name": group, "state": "Empty"} in json.loads(out)
    assert await cli(stack, "delete", "--yes", group) == (0, f"deleted {group}\n", "")
    code, out, err = await cli(stack, "describe", group)
    assert (code, out) == (1, "")
    assert "there is no such group" in err
