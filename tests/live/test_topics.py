"""Topics on a real broker: what the admin client and the command line do is what Kafka's own tool sees."""

import asyncio
import json
import re
import sys

import pytest

from kafkapipe import Admin, PartitionInfo, Producer, RejectedError

TOPIC_COMMAND = "org.apache.kafka.tools.TopicCommand"


@pytest.fixture
async def admin(stack):
    async with Admin(stack.bootstrap) as client:
        yield client


@pytest.fixture
def command(stack):
    """``await command("create", "t")``: exit code, stdout, stderr of kafkapipe topics."""

    async def run(*arguments, stdin=""):
        pipe = asyncio.subprocess.PIPE
        words = ("-m", "kafkapipe", "--bootstrap", stack.bootstrap, "topics", *arguments)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdin=pipe, stdout=pipe, stderr=pipe
        )
        out, err = await process.communicate(stdin.encode())
        return process.returncode, out.decode(), err.decode()

    return run


async def kafkas_own(stack, *arguments):
    """What Kafka's own tool answers."""
    result = await stack.run_java_tool(
        "kafka", TOPIC_COMMAND, "--bootstrap-server", stack.bootstrap, *arguments
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


async def names(admin, **options):
    return [topic.name for topic in await admin.list_topics(**options)]


async def test_created_topic_is_what_kafka_describes(stack, admin):
    await admin.create_topic("topics-made", partitions=3, config={"retention.ms": "86400000"})
    theirs = await kafkas_own(stack, "--describe", "--topic", "topics-made")
    assert "PartitionCount: 3" in theirs
    assert "ReplicationFactor: 1" in theirs
    assert "retention.ms=86400000" in theirs
    ours = await admin.describe_topic("topics-made")
    assert ours.partitions == tuple(PartitionInfo(number, 1, (1,), (1,)) for number in range(3))
    assert ours.replication_factor == 1
    assert ours.overrides == {"retention.ms": "86400000"}
    assert ours.config["cleanup.policy"] == "delete"


async def test_topic_can_be_written_to_as_soon_as_it_is_made(stack, admin):
    async with Producer(stack.bootstrap, linger_ms=0) as producer:
        for number in range(5):
            name = f"topics-at-once-{number}"
            await admin.create_topic(name, partitions=8)
            result = await producer.send_many(name, ["빨강"] * 8, partitions=list(range(8)))
            assert not result.failed


async def test_many_calls_at_once(admin):
    wanted = [f"topics-many-{number:02}" for number in range(20)]
    await asyncio.gather(*(admin.create_topic(name) for name in wanted))
    assert set(wanted) <= set(await names(admin))
    await asyncio.gather(*(admin.delete_topic(name) for name in wanted))
    while set(wanted) & set(await names(admin)):  # noqa: ASYNC110 - a broker hears of it a moment later
        await asyncio.sleep(0.02)


async def test_internal_topics_are_shown_only_when_asked_for(stack, admin):
    await admin.create_topic("topics-read")
    await _join_a_group(stack.bootstrap, "topics-read")
    assert "__consumer_offsets" not in await names(admin)
    assert "__consumer_offsets" in await names(admin, internal=True)


async def _join_a_group(bootstrap, topic):
    import confluent_kafka  # noqa: PLC0415

    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "topics-group"})
    consumer.subscribe([topic])
    while not consumer.assignment():
        await asyncio.to_thread(consumer.poll, 0.1)
    consumer.close()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("topics-there",), "TOPIC_ALREADY_EXISTS", "already exists: choose another name"),
        (("topics-new", 1, 5), "INVALID_REPLICATION_FACTOR", "replication factor of 5 cannot be reached"),
        (("topics-new", 1, 1, {"retention.mss": "1"}), "INVALID_CONFIG", "retention.mss"),
        (("topics-new", 1, 1, {"retention.ms": "하루"}), "INVALID_CONFIG", "retention.ms"),
        (("topics/new",), "INVALID_TOPIC", "has '/'"),
        (("topics-new", 0), "", "give at least 1"),
    ],
)
async def test_refusal_says_what_and_where(admin, arguments, code, words):
    if "topics-there" not in await names(admin):
        await admin.create_topic("topics-there")
    with pytest.raises(RejectedError) as caught:
        await admin.create_topic(*arguments)
    assert caught.value.code == code
    assert words in caught.value.message
    assert arguments[0] in caught.value.message


async def test_asking_for_a_topic_that_is_not_there_does_not_make_it(admin):
    with pytest.raises(RejectedError, match=r"describe topic topics-none: .*check its name"):
        await admin.describe_topic("topics-none")
    with pytest.raises(RejectedError, match=r"delete topic topics-none: .*check its name"):
        await admin.delete_topic("topics-none")
    assert "topics-none" not in await names(admin)


async def test_command_line_from_create_to_delete(command, admin):
    code, out, err = await command(
        "create",
        "topics-cli",
        "--partitions",
        "2",
        "--config",
        "retention.ms=1000",
        "--config",
        "max.message.bytes=5",
    )
    assert (code, out, err) == (0, "created topics-cli: 2 partitions, replication factor 1\n", "")

    code, out, err = await command("list")
    assert code == 0
    assert re.search(r"topics-cli\W+2\W+1\W", out)
    code, out, err = await command("list", "--json")
    assert {"name": "topics-cli", "partitions": 2, "replication_factor": 1} in json.loads(out)

    code, out, err = await command("describe", "topics-cli")
    assert code == 0
    assert "topics-cli: 2 partitions, replication factor 1" in out
    assert re.search(r"retention\.ms\W+1000\W", out)
    code, out, err = await command("describe", "topics-cli", "--json")
    found = json.loads(out)
    assert found["partitions"][1] == {"partition": 1, "leader": 1, "replicas": [1], "in_sync": [1]}
    assert found["overrides"] == {"retention.ms": "1000", "max.message.bytes": "5"}

    code, out, err = await command("delete", "topics-cli", stdin="n\n")
    assert code == 1
    assert err.endswith("kafkapipe: interrupted\n")
    assert "topics-cli" in await names(admin)
    code, out, err = await command("delete", "topics-cli", stdin="y\n")
    assert (code, out) == (0, "deleted topics-cli\n")


async def test_command_line_deletes_what_it_can_and_says_what_it_could_not(command, admin):
    await admin.create_topic("topics-last")
    code, out, err = await command("delete", "--yes", "topics-nope", "topics-last")
    assert (code, out) == (1, "deleted topics-last\n")
    [line] = err.splitlines()
    assert line.startswith("kafkapipe: delete topic topics-nope: ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create", "색"), 2, "has '색'"),
        (("create", "__consumer_offsets"), 2, "is Kafka's own"),
        (("delete", "--yes", "a b"), 2, "has ' '"),
        (("create", "x" * 250), 2, "at most 249"),
        (("create", "t", "--partitions", "0"), 2, "'--partitions'"),
        (("create", "t", "--config", "retention.ms"), 2, "must be NAME=VALUE"),
        (("describe", "topics-nope"), 1, "Unknown topic or partition: check its name"),
        (("create", "topics-cli-x", "--replication-factor", "9"), 1, "replication factor of 9"),
    ],
)
async def test_command_line_errors_are_one_line_with_their_exit_code(command, arguments, code, words):
    exit_code, out, err = await command(*arguments)
    assert (exit_code, out) == (code, "")
    [line] = err.splitlines()
    assert line.startswith("kafkapipe: ")
    assert words in line
