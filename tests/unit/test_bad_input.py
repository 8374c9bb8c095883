"""Wrong values that need no broker to be refused: the call that got them says what, where, what to do."""

import time

import pytest

import kafkapipe as kp

LOST = "127.0.0.1:1"


def refused(make, *words, error=kp.ConfigError):
    """Whether this raises an error of one line with all of these words."""
    with pytest.raises(error) as caught:
        make()
    assert type(caught.value) is error
    assert "\n" not in caught.value.message
    assert [word for word in words if word not in caught.value.message] == []


CLIENTS = {
    "producer": kp.Producer,
    "consumer": kp.Consumer,
    "admin": kp.Admin,
    "read": lambda *servers, **options: kp.read("t", bootstrap=servers[0] if servers else None, **options),
}


@pytest.mark.parametrize("make", CLIENTS.values(), ids=CLIENTS)
def test_an_unknown_property_is_told_with_the_nearest(make):
    refused(lambda: make(LOST, socket_keepalive_enabel=True), 'did you mean "socket.keepalive.enable"?')
    refused(lambda: make(config={"bootstrap.server": LOST}), 'did you mean "bootstrap.servers"?')


@pytest.mark.parametrize("make", CLIENTS.values(), ids=CLIENTS)
@pytest.mark.parametrize(
    "servers",
    [9092, "", "a b:9092", "http://127.0.0.1:9092", "127.0.0.1:99999", "127.0.0.1:1,", "사용자@호스트:1"],
)
def test_servers_that_cannot_be_are_told(make, servers):
    refused(lambda: make(servers), "bootstrap.servers", "is no address: give HOST:PORT")


@pytest.mark.parametrize(
    "servers", ["kafka-1.example:9092,kafka-2.example", "SASL_SSL://호스트:9093", "[::1]:9092", " a:1 , b:2 "]
)
def test_servers_that_can_be_are_taken(servers):
    assert kp.Producer(servers)._properties["bootstrap.servers"] == servers


CONSUMERS = [
    ({"group": 5, "topics": ["t"]}, ["group is 5", "give text"]),
    ({"group": "g", "topics": [5]}, ["topics has 5", "patterns"]),
    ({"group": "g", "topics": [""]}, ["topics has ''"]),
    ({"group": "g", "start": 1.5}, ["start is 1.5", '"earliest", "latest"']),
    ({"group": "g", "start": True}, ["start is True"]),
    ({"group": "g", "max_records": "5"}, ["max_records is '5'", "give 1 to 1000000"]),
    ({"group": "g", "on_assign": 5}, ["on_assign is 5", "coroutine function"]),
]


@pytest.mark.parametrize(("options", "words"), CONSUMERS, ids=lambda each: str(each)[:40])
def test_a_consumer(options, words):
    refused(lambda: kp.Consumer(LOST, **options), *words)


PLACES = [("t", -1), ("t", 2**40), ("t", "0"), ("t", True), ("", 0), (5, 0), "t", ("t",)]


@pytest.mark.parametrize("where", PLACES, ids=str)
async def test_a_partition_that_cannot_be(where):
    async with kp.Consumer(LOST, group="g") as consumer:
        for call in (
            consumer.assign([where]),
            consumer.assign({where: 0}),
            consumer.watermarks([where]),
            consumer.committed([where]),
            consumer.pause([where]),
        ):
            with pytest.raises(kp.ConfigError, match="is no partition: give a pair of a topic's name and"):
                await call


@pytest.mark.parametrize("start", ["middle", 1.5, True, b"earliest"])
async def test_a_start_that_cannot_be(start):
    async with kp.Consumer(LOST, group="g") as consumer:
        with pytest.raises(kp.ConfigError, match='give "earliest", "latest", an offset or a datetime'):
            await consumer.assign([("t", 0)], start=start)


async def test_a_pattern_that_is_none_is_named():
    with pytest.raises(kp.RejectedError, match=r"is \^\( a regular expression\?"):
        await kp.Consumer(LOST, group="g", topics=["^("]).start()


ADMIN = {
    "name": (lambda a: a.create_topic(5), ["topic name 5: give text"]),
    "partitions": (lambda a: a.create_topic("t", "3"), ["'3' partitions", "at least 1"]),
    "too many": (lambda a: a.create_topic("t", 2**40), ["at least 1"]),
    "more partitions": (lambda a: a.create_partitions("t", -1), ["-1: give how many"]),
    "describe": (lambda a: a.describe_topic("색"), ["a topic's name has letters"]),
    "setting": (lambda a: a.create_topic("t", config={"a": ["b"]}), ["setting a of a topic is ['b']"]),
    "change": (lambda a: a.alter_config("t", {"a": object()}), ["setting a of a topic is"]),
    "reset": (lambda a: a.reset_offsets("g", 1.5), ["1.5: give a whole number"]),
    "reset text": (lambda a: a.reset_offsets("g", "middle"), ["to='middle' is unknown"]),
}


@pytest.mark.parametrize("name", ADMIN)
async def test_an_admin_call(name):
    call, words = ADMIN[name]
    async with kp.Admin(LOST) as admin:
        with pytest.raises((kp.ConfigError, kp.RejectedError)) as caught:
            await call(admin)
    assert [word for word in words if word not in caught.value.message] == []


READS = [
    ({"limit": "x"}, "limit 'x': give 0 or more"),
    ({"timeout": "x"}, "timeout 'x': give seconds"),
    ({"timeout": -1}, "timeout -1: give seconds"),
    ({"partitions": 0}, "partitions is 0: give a list"),
    ({"partitions": ["0"]}, "partition '0': give numbers from 0 up"),
    ({"partitions": [-1]}, "partition -1: give numbers from 0 up"),
    ({"columns": "key"}, 'columns is the text "key": give a list'),
]


@pytest.mark.parametrize(("options", "words"), READS, ids=lambda each: str(each)[:40])
def test_a_read(options, words):
    refused(lambda: kp.read("t", bootstrap=LOST, **options), words)


SINKS = [
    (
        lambda: kp.Elasticsearch(url="x"),
        "Elasticsearch: url: must be a URL like http://127.0.0.1:9870, not 'x'",
    ),
    (lambda: kp.Elasticsearch(urls="http://x"), 'Elasticsearch: urls: unknown option; did you mean "url"?'),
    (lambda: kp.Elasticsearch(flush={"record": 5}), "flush.record: unknown option"),
    (lambda: kp.Hdfs(path="relative"), "Hdfs: path: must be absolute"),
    (lambda: kp.File(path="x/{nope}"), "File: path: has the unknown placeholder {nope}"),
    (lambda: kp.Null(이름=1), "Null: 이름: unknown option"),
]


@pytest.mark.parametrize(("make", "words"), SINKS, ids=lambda each: str(each)[:30])
def test_a_sink(make, words):
    refused(make, words)


def test_a_sink_does_not_tell_its_password():
    with pytest.raises(kp.ConfigError) as caught:
        kp.Elasticsearch(user="u", password="geheim", url=5)
    assert "geheim" not in str(caught.value)


async def test_a_broker_that_is_not_there_is_told_by_the_consumers_calls():
    async with kp.Consumer(LOST, group="g") as consumer:
        for call in (
            consumer.assign([("t", 0)], timeout=0.5),
            consumer.watermarks([("t", 0)], timeout=0.5),
            consumer.committed([("t", 0)], timeout=0.5),
        ):
            start = time.monotonic()
            with pytest.raises(kp.DeadlineError) as caught:
                await call
            assert time.monotonic() - start < 3
            assert LOST in caught.value.message
            assert "is the broker running" in caught.value.message
