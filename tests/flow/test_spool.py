"""The spool: Kafka is away, events are answered with 202, and are in the topic in order and once later."""

import asyncio
import json
import os
import sqlite3
import sys
import time

import httpx
import pytest

from kafkapipe import Collector, ConfigError, Producer
from kafkapipe._core import MockCluster
from kafkapipe.app import App
from kafkapipe.config import CollectorConfig, Config
from kafkapipe.web.server import Server
from kafkapipe.web.spool import Spool
from kafkapipe.web.spool_file import SpoolFile
from kafkapipe.web.spooler import Spooler

SELECT = {"colorName": "$query.color", "userName": "$query.user"}
ROUTES = [
    {"method": "GET", "path": "/api/select", "topic": "select-color", "event": SELECT, "key": "$query.user"},
    {"method": "POST", "path": "/events", "topic": "events"},
    {"method": "POST", "path": "/queued", "topic": "events", "ack": "queued"},
    {"method": "POST", "path": "/once", "topic": "events", "event_id": "$body.event_id"},
    {"method": "POST", "path": "/kinds", "topic": {"by": "$body.k", "allow": ["events", "select-color"]}},
]
NAME = '홍 "길동"\n둘째 줄'


@pytest.fixture
def cluster():
    with MockCluster() as cluster:
        cluster.create_topic("select-color", 1)
        cluster.create_topic("events", 1)
        yield cluster


class Running:
    """A collector with a spool, its server, and a client of it."""

    def __init__(self, cluster, path, *, after="200ms", **options):
        properties = {"linger.ms": "1", "reconnect.backoff.max.ms": "200", **options.pop("kafka", {})}
        self.producer = Producer(cluster.bootstrap, config=properties)
        config = CollectorConfig.model_validate(
            {"routes": ROUTES, "spool": str(path), "spool_after": after, **options}
        )
        self.spooler = Spooler(config, self.producer, {**properties, "bootstrap.servers": cluster.bootstrap})
        self.spool = self.spooler.spool
        self.collector = Collector.from_config(config, self.producer, spooler=self.spooler)
        gate = self.collector.gate()
        self.server = Server(self.collector, "127.0.0.1:0", option="collector.listen", gate=gate)

    async def __aenter__(self):
        await self.producer.start()
        await self.spooler.start()
        await self.server.start()
        self.http = httpx.AsyncClient(base_url=self.server.url, trust_env=False, timeout=60)
        return self

    async def __aexit__(self, *exc):
        await self.http.aclose()
        await self.server.close(1)
        await self.spooler.stop_draining()
        await self.producer.close(0.5)
        await self.spooler.close()

    async def post(self, *numbers, path="/events", **more):
        body = b"\n".join(event(number, **more) for number in numbers)
        return await self.http.post(path, content=body)

    async def empty(self):
        """Wait until nothing is in the spool."""
        async with asyncio.timeout(60):
            while self.spool.events:  # noqa: ASYNC110 - nothing tells when it is
                await asyncio.sleep(0.02)


def event(number, **more):
    return json.dumps({"n": number, "big": 2**53 + 1, "이름": NAME, **more}, ensure_ascii=False).encode()


@pytest.fixture
def values(cluster, read_topic):
    async def read(topic="events"):
        records = await asyncio.to_thread(read_topic, cluster.bootstrap, topic, 1)
        return [record.value for record in records]

    return read


async def test_events_of_an_outage_are_202_and_arrive_in_order_and_once(cluster, tmp_path, values):
    async with Running(cluster, tmp_path / "spool") as running:
        statuses = [(await running.post(0)).status_code]
        cluster.set_up(-1, False)
        for number in range(1, 30, 3):
            answer = await running.post(number, number + 1, number + 2)
            assert answer.json() == {"accepted": 3}
            statuses.append(answer.status_code)
        assert running.spool.events == 30
        assert "events (" in running.spooler.problem
        cluster.set_up(-1, True)
        while running.spool.events:
            number += 3
            statuses.append((await running.post(number, number + 1, number + 2)).status_code)
        statuses.append((await running.post(number + 3)).status_code)
        await running.empty()
        assert running.spooler.problem is None
    assert statuses[0] == statuses[-1] == 200
    assert set(statuses[1:11]) == {202}
    assert await values() == [event(each) for each in range(number + 4)]
    assert running.collector.stats.events_accepted == number + 4
    assert running.collector.stats.events_lost == 0


async def test_a_queued_event_waits_for_no_disk_while_kafka_is_well(cluster, tmp_path, values):
    async with Running(cluster, tmp_path / "spool") as running:
        assert (await running.post(1, path="/queued")).status_code == 202
        await running.producer.flush()
        assert running.spool.written == 0
        cluster.set_up(-1, False)
        assert (await running.post(2, path="/queued")).status_code == 202
        async with asyncio.timeout(20):
            while running.spool.written == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await running.post(3, path="/queued")).status_code == 202
        cluster.set_up(-1, True)
        await running.empty()
    assert await values() == [event(1), event(2), event(3)]


async def test_keys_and_headers_go_the_long_way_too(cluster, tmp_path, read_topic):
    async with Running(cluster, tmp_path / "spool") as running:
        cluster.set_up(-1, False)
        for _ in range(2):  # the first the producer has, the second only the disk
            answer = await running.http.get("/api/select", params={"color": "red", "user": NAME})
            assert answer.status_code == 202
        cluster.set_up(-1, True)
        await running.empty()
    records = await asyncio.to_thread(read_topic, cluster.bootstrap, "select-color", 1)
    assert [(record.key.decode(), json.loads(record.value)["userName"]) for record in records] == [
        (NAME, NAME),
        (NAME, NAME),
    ]


async def test_what_a_killed_collector_had_answered_arrives_in_order(cluster, tmp_path, values):
    path = tmp_path / "spool"
    cluster.set_up(-1, False)
    for turn in range(2):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, cluster.bootstrap, str(path), stdout=asyncio.subprocess.PIPE
        )
        url = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
            for number in range(turn * 40, turn * 40 + 40):
                assert (await http.post("/events", content=event(number))).status_code == 202
        process.kill()
        await process.wait()
    cluster.set_up(-1, True)
    async with Running(cluster, path) as running:
        await running.empty()
    assert await values() == [event(number) for number in range(80)]


PROGRAM = """
import asyncio, sys
import kafkapipe as kp
from kafkapipe.web.server import Server

async def main(bootstrap, path):
    collector = kp.Collector(
        [kp.Route(method="POST", path="/events", topic="events")],
        bootstrap=bootstrap, spool=path, spool_after="200ms",
    )
    async with collector:
        server = Server(collector, "127.0.0.1:0", option="test")
        await server.start()
        print(server.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_stopping_keeps_what_kafka_does_not_have(cluster, tmp_path, values):
    async with Running(cluster, tmp_path / "spool", after="9s") as running:
        cluster.set_up(-1, False)
        assert (await running.post(1, 2, path="/queued")).status_code == 202
        assert running.spool.events == 0
    assert running.collector.stats.events_lost == 0
    cluster.set_up(-1, True)
    async with Running(cluster, tmp_path / "spool") as running:
        await running.empty()
    assert await values() == [event(1), event(2)]


async def test_a_full_spool_is_503_and_takes_nothing_of_the_batch(cluster, tmp_path, values):
    async with Running(cluster, tmp_path / "spool", spool_bytes="64KiB") as running:
        cluster.set_up(-1, False)
        statuses = []
        while 503 not in statuses:
            answer = await running.post(len(statuses), pad="가" * 3000)
            statuses.append(answer.status_code)
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"] == "kafka unavailable"
        assert statuses == [202] * (len(statuses) - 1) + [503]
        assert running.spool.bytes <= 64 * 1024
        cluster.set_up(-1, True)
        await running.empty()
        assert (await running.post(100)).status_code == 200
    assert [json.loads(each)["n"] for each in await values()] == [*range(len(statuses) - 1), 100]


async def test_an_event_that_no_broker_would_take_is_413_without_kafka_too(cluster, tmp_path, values):
    async with Running(cluster, tmp_path / "spool", kafka={"message.max.bytes": "4000"}) as running:
        cluster.set_up(-1, False)
        assert (await running.post(1)).status_code == 202
        answer = await running.http.post("/events", content=event(2) + b"\n" + event(3, pad="x" * 5000))
        assert (answer.status_code, answer.json()["accepted"]) == (413, 1)
        assert answer.json()["rejected"] == [{"index": 1, "reason": "larger than the topic takes"}]
        cluster.set_up(-1, True)
        await running.empty()
    assert await values() == [event(1), event(2)]


async def test_an_event_that_kafka_never_takes_does_not_hold_up_the_others(cluster, tmp_path, values):
    path = tmp_path / "spool"
    cluster.set_up(-1, False)
    async with Running(cluster, path) as running:
        for number in range(9):
            await running.post(number, pad="x" * (5000 if number == 5 else 1))
    cluster.set_up(-1, True)
    async with Running(cluster, path, kafka={"message.max.bytes": "4000"}) as running:
        await running.empty()
        assert running.collector.stats.events_lost == 1
    # these brokers write no markers, so what was aborted is seen as well
    arrived = dict.fromkeys(json.loads(each)["n"] for each in await values())
    assert list(arrived) == [0, 1, 2, 3, 4, 6, 7, 8]


async def test_a_repeated_event_is_spooled_once(cluster, tmp_path, values):
    async with Running(cluster, tmp_path / "spool") as running:
        cluster.set_up(-1, False)
        for _ in range(3):
            answer = await running.post(7, path="/once", event_id="같은 것")
            assert answer.is_success
        cluster.set_up(-1, True)
        await running.empty()
        assert (await running.post(7, path="/once", event_id="같은 것")).status_code == 200
    assert await values() == [event(7, event_id="같은 것")]


async def test_topics_of_one_batch_go_their_own_ways(cluster, tmp_path, values):
    async with Running(cluster, tmp_path / "spool") as running:
        cluster.set_up(-1, False)
        for kind in ("events", "select-color", "events"):
            answer = await running.post(1, path="/kinds", k=kind)
            assert answer.status_code == 202
        body = event(2, k="events") + b"\n" + event(3, k="select-color")
        assert (await running.http.post("/kinds", content=body)).json() == {"accepted": 2}
        cluster.set_up(-1, True)
        await running.empty()
    assert await values() == [event(1, k="events")] * 2 + [event(2, k="events")]
    assert await values("select-color") == [event(1, k="select-color"), event(3, k="select-color")]


async def test_a_flood_is_written_in_groups(tmp_path, monkeypatch):
    commits = []
    commit = SpoolFile.commit

    def counted(self):
        time.sleep(0.02)  # as a slow disk
        commits.append(commit(self))

    monkeypatch.setattr(SpoolFile, "commit", counted)
    spool = Spool(str(tmp_path / "spool"), 1 << 20)
    await spool.start()
    await asyncio.gather(*(spool.put("events", [event(number)], None, None)[0] for number in range(500)))
    assert len(commits) < 20
    rows = await spool.ask(lambda file: file.head("events", 1000, 1 << 20))
    assert [row.value for row in rows] == [event(number) for number in range(500)]
    await spool.close()


async def test_a_run_says_what_waits_and_drains_it(cluster, tmp_path, values):
    config = {
        "kafka": {"bootstrap.servers": cluster.bootstrap},
        "collector": {
            "listen": "127.0.0.1:0", "routes": ROUTES, "spool": str(tmp_path / "색/spool"),
            "spool_after": "100ms",
        },
        "management": {"listen": "127.0.0.1:0"},
    }  # fmt: skip
    cluster.set_up(-1, False)
    async with App(Config.model_validate(config)) as app, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.post(f"{app.collector_url}/events", content=event(1))).status_code == 202
        assert (await http.post(f"{app.collector_url}/events", content=event(2))).status_code == 202
        problems = (await http.get(f"{app.management_url}/readyz")).json()["problems"]
        assert problems["spool"].startswith("2 events (")
        assert "kafkapipe_spool_events 2.0" in (await http.get(f"{app.management_url}/metrics")).text
        cluster.set_up(-1, True)
        async with asyncio.timeout(60):
            while "spool" in (await http.get(f"{app.management_url}/readyz")).json()["problems"]:
                pass
    assert await values() == [event(1), event(2)]


async def test_two_collectors_cannot_have_one_spool(cluster, tmp_path):
    async with Running(cluster, tmp_path / "spool"):
        with pytest.raises(ConfigError, match="another program uses it"):
            await Spool(str(tmp_path / "spool"), 1 << 20).start()


@pytest.mark.parametrize("content", [b"this is no spool at all" * 100, b""])
async def test_a_file_that_is_no_spool_is_left_alone(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    spool = Spool(str(path), 1 << 20)
    if content:
        with pytest.raises(ConfigError, match="this is no spool"):
            await spool.start()
        assert path.read_bytes() == content
    else:
        await spool.start()  # an empty file is a new one
        await spool.close()


async def test_a_disk_that_fails_is_503_and_not_a_hang(cluster, tmp_path, monkeypatch):
    async with Running(cluster, tmp_path / "spool") as running:
        cluster.set_up(-1, False)
        await running.post(1)

        def fail(self):
            raise sqlite3.OperationalError("disk I/O error")

        with monkeypatch.context() as patched:
            patched.setattr(SpoolFile, "commit", fail)
            answer = await running.post(2)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "disk" not in answer.text
        assert (await running.post(3)).status_code == 202
        assert running.spool.events == 2


async def test_the_file_gives_its_space_back(cluster, tmp_path):
    path = tmp_path / "spool"
    async with Running(cluster, path) as running:
        cluster.set_up(-1, False)
        for number in range(20):
            await running.post(number, pad="x" * 50_000)
        size = sum(os.stat(each).st_size for each in tmp_path.iterdir())
        assert size > 1_000_000
        cluster.set_up(-1, True)
        await running.empty()
    assert sum(os.stat(each).st_size for each in tmp_path.iterdir()) < 100_000
