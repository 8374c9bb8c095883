"""What the collector's callers send over HTTP, and what lies in the topic afterwards."""

import asyncio
import json
import re

import httpx
import pytest

from kafkapipe._core import MockCluster
from kafkapipe.config import CollectorConfig
from kafkapipe.producer import Producer
from kafkapipe.web.collector import Collector
from kafkapipe.web.server import Server

COLOUR = {
    "timestamp": "$now",
    "userAgent": "$header.user-agent",
    "colorName": "$query.color",
    "userName": "$query.user",
}
ROUTES = [
    {"method": "GET", "path": "/api/select", "topic": "select-color", "cors": ["*"], "event": COLOUR},
    {"method": "POST", "path": "/events", "topic": "events"},
    {"method": "POST", "path": "/queued", "topic": "events", "ack": "queued"},
]


@pytest.fixture
def cluster():
    with MockCluster() as cluster:
        cluster.create_topic("select-color", 3)
        cluster.create_topic("events", 1)
        yield cluster


class Running:
    """A producer, a collector and its server, and a client of it."""

    def __init__(self, cluster, *, ack_timeout="10s", **properties):
        self.producer = Producer(cluster.bootstrap, **{"linger_ms": 1, **properties})
        config = CollectorConfig.model_validate({"routes": ROUTES, "ack_timeout": ack_timeout})
        self.collector = Collector.from_config(config, self.producer)
        self.server = Server(
            self.collector, "127.0.0.1:0", option="collector.listen", gate=self.collector.gate()
        )

    async def __aenter__(self):
        await self.producer.start()
        await self.server.start()
        self.http = httpx.AsyncClient(base_url=self.server.url, trust_env=False)
        return self

    async def __aexit__(self, *exc):
        await self.http.aclose()
        await self.server.close(1)
        await self.producer.close(1)


@pytest.fixture
async def running(cluster):
    async with Running(cluster) as running:
        yield running


@pytest.fixture
def values(cluster, read_topic):
    """The values of a topic, read while the loop runs on."""

    async def read(topic, partitions=1):
        records = await asyncio.to_thread(read_topic, cluster.bootstrap, topic, partitions)
        assert all(record.key is None for record in records)
        return [record.value for record in records]

    return read


async def test_curl_with_a_korean_name_in_plain_utf8(running, values):
    curl = await asyncio.create_subprocess_exec(
        "curl", "-s", "-w", "%{http_code}", "-A", "Mozilla/5.0 (시험)",
        f"{running.server.url}/api/select?color=red&user=홍길동", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await curl.communicate()
    assert output == b"200"
    (event,) = await values("select-color", 3)
    pattern = (
        r'\{"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}","userAgent":"Mozilla/5\.0 \(시험\)",'
        r'"colorName":"red","userName":"홍길동"\}'
    )
    assert re.fullmatch(pattern, event.decode())


async def test_names_with_quotes_newlines_and_more_arrive_whole(running, values):
    names = [
        "홍길동",
        '그는 "안녕"\n하고\t말했다',
        "O'Brien & <b>söns</b>",
        "a+b=c%20",
        "\\",
        "\0",
        "🎨" * 50,
    ]
    for name in names:
        answer = await running.http.get("/api/select", params={"color": "blue", "user": name})
        assert (answer.status_code, answer.content) == (200, b"")
    events = [json.loads(value) for value in await values("select-color", 3)]
    assert sorted(event["userName"] for event in events) == sorted(names)


async def test_events_keep_every_byte_and_their_order(running, values):
    events = [
        '{"이름":"홍길동","n":9007199254740993}'.encode(),
        b'{ "e" : 1.0E+400 , "u" : "\\ud64d" }',
        b'{"quote":"\\"\\n"}',
    ]
    assert (await running.http.post("/events", content=b"[" + b" , ".join(events) + b"]")).json() == {
        "accepted": 3
    }
    assert (await running.http.post("/events", content=b"\n".join(events))).json() == {"accepted": 3}
    assert (await running.http.post("/events", content=events[0])).json() == {"accepted": 1}
    assert await values("events") == [*events, *events, events[0]]


async def test_a_body_with_one_invalid_event_leaves_nothing_in_the_topic(running, values):
    answer = await running.http.post("/events", content=b'{"a":1}\n{"a":}\n{"a":3}')
    assert (answer.status_code, answer.json()["rejected"][0]["index"]) == (400, 1)
    await running.http.post("/events", content=b'{"last":true}')
    assert await values("events") == [b'{"last":true}']


async def test_every_answered_event_is_there_once_under_concurrency(running, values):
    async def send(number):
        if number % 2:
            body = b"\n".join(b'{"id":"%d-%d"}' % (number, each) for each in range(3))
            answer = await running.http.post("/events", content=body)
        else:
            answer = await running.http.post("/queued", content=b'{"id":"%d-0"}' % number)
        assert answer.status_code in (200, 202), answer.text

    await asyncio.gather(*(send(number) for number in range(300)))
    await running.producer.flush()
    sent = [f"{n}-{each}" for n in range(300) for each in range(3 if n % 2 else 1)]
    assert sorted(json.loads(value)["id"] for value in await values("events")) == sorted(sent)
    assert running.collector.stats.events_accepted == len(sent)


async def test_an_event_over_the_producers_limit_is_413_and_the_others_are_told(cluster, values):
    async with Running(cluster, message_max_bytes=1000) as running:
        answer = await running.http.post("/events", content=b'{"a":1}\n{"a":"%s"}' % (b"x" * 2000))
        assert answer.status_code == 413
        assert answer.json()["accepted"] == 1
        assert answer.json()["rejected"] == [{"index": 1, "reason": "larger than the topic takes"}]
    assert await values("events") == [b'{"a":1}']


async def test_the_sender_of_a_body_far_over_the_limit_gets_to_see_the_answer(running):
    answer = await running.http.post("/events", content=b" " * 20_000_000)
    assert (answer.status_code, answer.json()["error"]) == (413, "body too large")


async def test_kafka_away_is_503_in_time_and_it_heals_by_itself(cluster, values):
    async with Running(cluster, ack_timeout="500ms") as running:
        assert (await running.http.post("/events", content=b'{"n":1}')).status_code == 200
        cluster.set_up(-1, False)
        answer = await running.http.post("/events", content=b'{"n":2}')
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "may still arrive" in answer.json()["detail"]
        assert running.collector.problem
        assert (await running.http.get("/")).status_code == 200
        cluster.set_up(-1, True)
        async with asyncio.timeout(20):
            while (await running.http.post("/events", content=b'{"n":3}')).status_code != 200:
                pass
        assert running.collector.problem is None
    assert {b'{"n":1}', b'{"n":2}', b'{"n":3}'} == set(await values("events"))


async def test_a_full_queue_is_503_at_once_and_takes_nothing_of_the_batch(cluster):
    async with Running(cluster, queue_buffering_max_messages=5) as running:
        cluster.set_up(-1, False)
        first = await running.http.post("/queued", content=b"{}\n" * 4)
        assert first.status_code == 202
        second = await running.http.post("/queued", content=b"{}\n" * 2)
        assert (second.status_code, second.headers["retry-after"]) == (503, "1")
        assert second.json()["error"] == "kafka unavailable"
        assert running.producer.queue_length == 4


async def test_stopping_answers_what_is_under_way(cluster, values):
    async with Running(cluster, linger_ms=200) as running:
        request = asyncio.create_task(running.http.post("/events", content=b"{}"))
        while not running.producer.queue_length:  # noqa: ASYNC110 - nothing tells when it grows
            await asyncio.sleep(0)
        await running.server.close(5)
        assert (await request).status_code == 200
    assert await values("events") == [b"{}"]
