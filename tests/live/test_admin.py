"""The admin client on a real broker: partitions, settings, records, cluster, deadlines, declared topics."""

import asyncio
import json
import re
import sys

import pytest

from kafkapipe import Admin, DeadlineError, Producer, RejectedError

pytestmark = pytest.mark.live
BIG = "9007199254740993"


@pytest.fixture
async def admin(stack):
    async with Admin(stack.bootstrap) as client:
        yield client


@pytest.fixture
def command(stack):
    """``await command("topics", "apply", FILE)``: exit code, stdout, stderr of kafkapipe."""

    async def run(*arguments):
        pipe = asyncio.subprocess.PIPE
        words = ("-m", "kafkapipe", "--bootstrap", stack.bootstrap, *map(str, arguments))
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=pipe, stderr=pipe)
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    return run


async def fill(stack, topic, partitions, count):
    async with Producer(stack.bootstrap) as producer:
        values = [f"색 {number}" for number in range(partitions * count)]
        result = await producer.send_many(topic, values, partitions=list(range(partitions)) * count)
        assert not result.failed


async def test_partitions_are_added_and_can_be_written_to_at_once(stack, admin):
    await admin.create_topic("admin-grow", partitions=2)
    await admin.create_partitions("admin-grow", 5)
    assert len((await admin.describe_topic("admin-grow")).partitions) == 5
    await fill(stack, "admin-grow", 5, 1)
    with pytest.raises(RejectedError, match=r"admin-grow: .*5 partition") as caught:
        await admin.create_partitions("admin-grow", 5)
    assert caught.value.code == "INVALID_PARTITIONS"


async def test_one_setting_changes_and_the_others_stay(admin):
    await admin.create_topic("admin-set", config={"retention.ms": BIG, "cleanup.policy": "compact"})
    await admin.alter_config("admin-set", {"max.message.bytes": "5000", "cleanup.policy": "delete"})
    overrides = (await admin.describe_topic("admin-set")).overrides
    assert overrides == {"retention.ms": BIG, "max.message.bytes": "5000", "cleanup.policy": "delete"}
    await admin.alter_config("admin-set", {"max.message.bytes": None})
    overrides = (await admin.describe_topic("admin-set")).overrides
    assert overrides == {"retention.ms": BIG, "cleanup.policy": "delete"}
    with pytest.raises(RejectedError, match=r"admin-set: .*retention\.mss"):
        await admin.alter_config("admin-set", {"retention.mss": "1"})


async def test_settings_changed_at_the_same_time_are_all_kept(admin):
    await admin.create_topic("admin-race")
    changes = {"retention.ms": "1000", "max.message.bytes": "5000", "segment.ms": "2000", "flush.ms": "7"}
    await asyncio.gather(*(admin.alter_config("admin-race", {key: changes[key]}) for key in changes))
    assert (await admin.describe_topic("admin-race")).overrides == changes


async def test_records_before_an_offset_are_deleted(stack, admin, read_topic):
    await admin.create_topic("admin-records", partitions=3)
    await fill(stack, "admin-records", 3, 10)
    assert await admin.delete_records("admin-records", {0: 4, 1: None}) == {0: 4, 1: 10}
    left = await asyncio.to_thread(read_topic, stack.bootstrap, "admin-records", 3)
    assert [(record.partition, record.offset) for record in left] == [
        *((0, offset) for offset in range(4, 10)),
        *((2, offset) for offset in range(10)),
    ]


@pytest.mark.parametrize(
    ("name", "before", "code"),
    [
        ("admin-some", {0: 99}, "OFFSET_OUT_OF_RANGE"),
        ("admin-some", {0: 0, 7: 0}, "UNKNOWN_TOPIC_OR_PART"),
        ("admin-none", {0: 0}, "UNKNOWN_TOPIC_OR_PART"),
    ],
)
async def test_records_that_are_not_there_are_refused(admin, name, before, code):
    if "admin-some" not in [topic.name for topic in await admin.list_topics()]:
        await admin.create_topic("admin-some")
    with pytest.raises(RejectedError) as caught:
        await admin.delete_records(name, before)
    assert caught.value.code == code
    assert name in caught.value.message


async def test_the_cluster_tells_its_brokers(stack, admin):
    found = await admin.describe_cluster()
    [broker] = found.brokers
    assert (broker.id, f"{broker.host}:{broker.port}") == (1, stack.bootstrap)
    assert found.controller == 1
    assert re.fullmatch(r"[\w-]{22}", found.id)


async def test_many_different_calls_at_once(admin):
    await admin.create_topic("admin-many")
    kinds = (admin.describe_cluster, admin.list_topics, admin.list_groups, admin.describe_acls)
    answers = await asyncio.gather(
        *(kind() for kind in kinds * 10), *(admin.describe_topic("admin-many") for _ in range(10))
    )
    assert len(answers) == 50
    assert {answer.name for answer in answers[-10:]} == {"admin-many"}


async def test_each_call_has_its_own_deadline():
    async def say_nothing(reader, writer):
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    host, port = silent.sockets[0].getsockname()

    async def seconds(call):
        start = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineError):
            await call
        return asyncio.get_running_loop().time() - start

    async with Admin(f"{host}:{port}") as admin:
        took = await asyncio.gather(
            seconds(admin.list_groups(timeout=0.5)),
            seconds(admin.describe_cluster(timeout=1.0)),
            seconds(admin.delete_group("그룹", timeout=1.5)),
            seconds(admin.alter_config("t", {"retention.ms": "1"}, timeout=2.0)),
        )
    silent.close()
    await silent.wait_closed()
    for given, spent in zip((0.5, 1.0, 1.5, 2.0), took, strict=True):
        assert given - 0.1 < spent < given + 1.5


async def test_declared_topics_are_made_once_and_deleted_only_when_asked_for_twice(command, admin, tmp_path):
    await admin.create_topic("apply-old")
    await admin.create_topic("apply-grow", config={"segment.ms": "60000", "retention.ms": "5"})
    file = tmp_path / "topics.yaml"
    file.write_text(
        "topics:\n"
        "  apply-new:\n"
        "    partitions: 3\n"
        f"    config: {{retention.ms: {BIG}, cleanup.policy: 'compact, delete'}}\n"
        "  apply-grow: {partitions: 4, config: {retention.ms: null, max.message.bytes: 5000}}\n"
        "  apply-old: {state: absent}\n"
    )
    plan = (
        f"create apply-new: 3 partitions, the cluster's replication factor, retention.ms = {BIG}, "
        "cleanup.policy = compact, delete\n"
        "add partitions apply-grow: 4 partitions\n"
        "change settings apply-grow: retention.ms = the default (was 5), max.message.bytes = 5000\n"
        "keep apply-old: it is declared absent; --delete deletes it and its records\n"
    )
    assert await command("topics", "apply", file, "--dry-run") == (0, f"{plan}3 changes to be made\n", "")
    assert "apply-new" not in [topic.name for topic in await admin.list_topics()]
    assert await command("topics", "apply", file) == (0, f"{plan}3 changes made\n", "")
    grown = await admin.describe_topic("apply-grow")
    assert len(grown.partitions) == 4
    assert grown.overrides == {"segment.ms": "60000", "max.message.bytes": "5000"}

    code, out, _ = await command("topics", "apply", file, "--json")
    assert (code, json.loads(out)) == (0, {"changes": [], "kept": ["apply-old"], "applied": True})
    assert "apply-old" in [topic.name for topic in await admin.list_topics()]
    deleted = await command("topics", "apply", file, "--delete")
    assert deleted == (0, "delete apply-old\n1 change made\n", "")
    assert await command("topics", "apply", file, "--delete") == (0, "nothing to change\n", "")


async def test_a_plan_that_cannot_be_done_changes_nothing(command, admin, tmp_path):
    await admin.create_topic("apply-wide", partitions=2)
    file = tmp_path / "topics.yaml"
    file.write_text("topics: {apply-never: {}, apply-wide: {partitions: 1}}")
    code, out, err = await command("topics", "apply", file)
    assert (code, out) == (1, "")
    assert err.startswith("kafkapipe: topic apply-wide: has 2 partitions and 1 are declared: ")
    assert "apply-never" not in [topic.name for topic in await admin.list_topics()]


async def test_alter_on_the_command_line(command, admin):
    await admin.create_topic("admin-alter", config={"retention.ms": "5"})
    options = ("--partitions", 2, "--config", "segment.ms=60000", "--unset", "retention.ms")
    code, out, _ = await command("topics", "alter", "admin-alter", *options)
    assert (code, out.splitlines()) == (
        0,
        [
            "admin-alter: 2 partitions",
            "admin-alter: segment.ms = 60000",
            "admin-alter: retention.ms = the default",
        ],
    )
    found = await admin.describe_topic("admin-alter")
    assert (len(found.partitions), found.overrides) == (2, {"segment.ms": "60000"})
    code, _, err = await command("topics", "alter", "admin-alter")
    assert (code, "say what is to change" in err) == (2, True)
