"""The Elasticsearch sink against both real servers: what is in the index is what topic and options say.

The same cases run against the stack's Elasticsearch and an OpenSearch that lives as long as this file.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

import kafkapipe as kp
from kafkapipe import indexes
from kafkapipe.app import App
from kafkapipe.config import loads
from kafkapipe.errors import FatalError
from kafkapipe.stack import Stack

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

Record = tuple[str | None, str | None]
"""Key and value."""


@dataclass(frozen=True)
class Search:
    """One server, and the names of what a test makes on it."""

    flavour: str
    stack: Stack
    http: httpx.AsyncClient

    @property
    def url(self) -> str:
        return self.stack.search_url

    def name(self, what: str) -> str:
        """Of a topic, or an index."""
        return f"{self.flavour}-{what}"

    async def put(self, path: str, body: Any) -> None:
        (await self.http.put(path, json=body)).raise_for_status()

    async def hits(self, index: str) -> dict[str, dict[str, Any]]:
        """Every document of the indexes, by id, as the server tells of it."""
        await self.http.post(f"/{index}/_refresh")
        answer = await self.http.get(f"/{index}/_search", params={"size": 1000})
        return {hit["_id"]: hit for hit in answer.raise_for_status().json()["hits"]["hits"]}

    async def documents(self, index: str) -> dict[str, dict[str, Any]]:
        """The documents themselves, by id."""
        return {name: hit["_source"] for name, hit in (await self.hits(index)).items()}


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["elasticsearch", "opensearch"])
async def search(
    request: pytest.FixtureRequest, stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Search]:
    """Each server in turn; OpenSearch is started here and ended behind the last case."""
    if request.param == "elasticsearch":
        async with httpx.AsyncClient(base_url=stack.search_url, trust_env=False, timeout=60) as http:
            yield Search("elasticsearch", stack, http)
        return
    folder = tmp_path_factory.mktemp("opensearch")
    async with (
        Stack(only=["search"], search="opensearch", search_port=0, data_dir=folder) as other,
        httpx.AsyncClient(base_url=other.search_url, trust_env=False, timeout=60) as http,
    ):
        yield Search("opensearch", other, http)


async def fill(stack: Stack, topic: str, records: Sequence[Record]) -> None:
    async with kp.Admin(stack.bootstrap) as admin:
        if topic not in {each.name for each in await admin.list_topics()}:
            await admin.create_topic(topic, partitions=1)
            await admin.create_topic(f"{topic}.dlq", partitions=1)
    await send(stack, topic, records)


async def send(stack: Stack, topic: str, records: Sequence[Record]) -> None:
    async with kp.Producer(stack.bootstrap, linger_ms=0) as producer:
        result = await producer.send_many(
            topic, [value for _, value in records], keys=[key for key, _ in records]
        )
    assert result.failed == []


@asynccontextmanager
async def piping(stack: Stack, search: Search, topic: str, **options: Any) -> AsyncIterator[kp.Pipeline]:
    """A pipeline from the topic, with a dead-letter topic beside it; ``options`` are the sink's."""
    sink = kp.Elasticsearch(**{"url": search.url, "flush": {"age": "20ms"}, **options})
    pipeline = kp.Pipeline(
        topics=[topic],
        sink=sink,
        kafka={"bootstrap.servers": stack.bootstrap},
        group=f"{topic}-{sink.index}",
        dead_letter={"topic": f"{topic}.dlq"},
        retry={"min": "50ms", "max": "500ms"},
    )
    async with pipeline:
        yield pipeline


async def deliver(
    stack: Stack, search: Search, topic: str, records: Sequence[Record], **options: Any
) -> dict[str, Any]:
    """Records into the topic and through a pipeline; its snapshot when all is settled."""
    await fill(stack, topic, records)
    async with piping(stack, search, topic, **options) as pipeline:
        await asyncio.wait_for(pipeline.drained(), 60)
        return pipeline.snapshot()


async def until(pipeline: kp.Pipeline, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first snapshot of which that is true."""
    async with asyncio.timeout(60):
        while not done(seen := pipeline.snapshot()):  # noqa: ASYNC110 - it tells of no change of counters
            await asyncio.sleep(0.02)
    return seen


DlqReader = Callable[..., list[Any]]

NAMES = ["홍길동", 'a "quoted"\nname', "kim", "9007199254740993"]
PEOPLE: list[Record] = [
    (name, json.dumps({"user": {"id": name}, "n": 2**53 + number}, ensure_ascii=False))
    for number, name in enumerate(NAMES, 1)
]


async def test_ids_of_every_kind(stack: Stack, search: Search) -> None:
    topic = search.name("ids")
    await fill(stack, topic, PEOPLE)
    kinds = {
        "topic+partition+offset": {f"{topic}+0+{offset}" for offset in range(4)},
        "key": set(NAMES),
        "{field:user.id}-{partition}": {f"{name}-0" for name in NAMES},
        "auto": None,
    }

    async def one(number: int, kind: str, ids: set[str] | None) -> None:
        index = f"{topic}-{number}"
        async with piping(stack, search, topic, index=index, id=kind) as pipeline:
            await asyncio.wait_for(pipeline.drained(), 60)
        found = await search.documents(index)
        assert ids is None or set(found) == ids
        assert sorted(each["n"] for each in found.values()) == [2**53 + number for number in range(1, 5)]

    await asyncio.gather(*(one(number, *kind) for number, kind in enumerate(kinds.items())))


async def test_upserts_merge_and_tombstones_delete(stack: Stack, search: Search) -> None:
    topic = search.name("upsert")
    records: list[Record] = [
        ("하나", '{"a": 9007199254740993}'),
        ("하나", '{"b": {"c": "둘\\n"}}'),
        ("gone", '{"a": 1}'),
        ("gone", None),
        ("never", None),
        ("back", None),
        ("back", '{"a": 1}'),
    ]
    options = {"operation": "upsert", "id": "key", "tombstone": "delete"}
    seen = await deliver(stack, search, topic, records, index=topic, **options)
    assert await search.documents(topic) == {
        "하나": {"a": 9007199254740993, "b": {"c": "둘\n"}},
        "back": {"a": 1},
    }
    assert (seen["records_out"], seen["dead_letters"]) == (7, 0)


async def test_an_update_of_what_is_not_there_is_a_dead_letter(
    stack: Stack, search: Search, read_topic: DlqReader
) -> None:
    topic = search.name("update")
    await search.put(f"/{topic}/_doc/k?refresh=true", {"a": 1})
    records: list[Record] = [("k", '{"b": 2}'), ("없음", '{"b": 2}')]
    await deliver(stack, search, topic, records, index=topic, operation="update", id="key")
    assert await search.documents(topic) == {"k": {"a": 1, "b": 2}}
    dead = await asyncio.to_thread(read_topic, stack.bootstrap, f"{topic}.dlq")
    assert [record.key.decode() for record in dead] == ["없음"]


async def test_an_update_that_cannot_be_parsed_is_a_dead_letter_and_its_neighbours_are_not(
    stack: Stack, search: Search, read_topic: DlqReader
) -> None:
    topic = search.name("unreadable")
    records: list[Record] = [(f"키{number}", f'{{"n": {number}}}') for number in range(7)]
    records[3] = ("둘", '{"n": 1, "n": 2}')  # the server fails the whole request for it
    records[5] = ("긴 수", f'{{"n": {"9" * 1500}}}')
    await deliver(stack, search, topic, records, index=topic, operation="upsert", id="key")
    assert set(await search.documents(topic)) == {"키0", "키1", "키2", "키4", "키6"}
    dead = await asyncio.to_thread(read_topic, stack.bootstrap, f"{topic}.dlq")
    assert [record.key.decode() for record in dead] == ["둘", "긴 수"]


async def test_an_older_version_that_comes_later_does_not_win(stack: Stack, search: Search) -> None:
    topic, late, index = search.name("version"), search.name("version-late"), search.name("version")
    options = {"index": index, "operation": "index", "id": "key", "version": "offset", "tombstone": "delete"}
    news: list[Record] = [("k", '{"v": 0}'), ("d", '{"v": 1}'), ("k", '{"v": 2}'), ("d", None)]
    await deliver(stack, search, topic, news, **options)
    stale: list[Record] = [("k", '{"v": -1}'), ("d", '{"v": -1}')]
    seen = await deliver(stack, search, late, stale, **options)  # offsets 0 and 1: older than 2 and 3
    assert await search.documents(index) == {"k": {"v": 2}}
    assert (seen["records_out"], seen["dead_letters"]) == (2, 0)


async def test_index_and_routing_from_the_record_gzipped(
    stack: Stack, search: Search, read_topic: DlqReader
) -> None:
    topic = search.name("template")
    records: list[Record] = [
        ("1", '{"color":"빨강","city":"서울"}'),
        ("2", '{"city":"부산"}'),
        ("3", '{"color":"../etc","city":"x"}'),
        ("4", '{"color":"a"}'),
    ]
    index = f"{topic}-{{field:color|none}}"
    await deliver(stack, search, topic, records, index=index, routing="{field:city}", gzip=True)
    hits = await search.hits(f"{topic}-*")
    assert {(hit["_index"], hit["_routing"], hit["_source"]["city"]) for hit in hits.values()} == {
        (f"{topic}-빨강", "서울", "서울"),
        (f"{topic}-none", "부산", "부산"),
    }
    dead = await asyncio.to_thread(read_topic, stack.bootstrap, f"{topic}.dlq")
    assert [record.value.decode() for record in dead] == [records[2][1], records[3][1]]


async def test_what_does_not_fit_the_mapping_is_a_dead_letter_and_the_rest_is_not(
    stack: Stack, search: Search, read_topic: DlqReader
) -> None:
    topic = search.name("mapping")
    await search.put(f"/{topic}", {"mappings": {"properties": {"n": {"type": "long"}}}})
    records: list[Record] = [(None, f'{{"n": {value}}}') for value in ("1", '"홍길동"', "2", "{}", "3")]
    seen = await deliver(stack, search, topic, records, index=topic)
    assert {each["n"] for each in (await search.documents(topic)).values()} == {1, 2, 3}
    dead = await asyncio.to_thread(read_topic, stack.bootstrap, f"{topic}.dlq")
    assert [record.value.decode() for record in dead] == [records[1][1], records[3][1]]
    assert (seen["dead_letters"], seen["records_out"]) == (2, 3)


async def test_at_the_flood_stage_it_pauses_says_so_and_heals(stack: Stack, search: Search) -> None:
    topic = search.name("flood")
    block = "index.blocks.read_only_allow_delete"
    await search.put(f"/{topic}", {"settings": {block: True}})
    await fill(stack, topic, PEOPLE)
    async with piping(stack, search, topic, index=topic) as pipeline:
        seen = await until(pipeline, lambda seen: seen["state"] == "paused" and seen["retries"] > 8)
        assert "cluster_block_exception" in seen["reason"]
        assert "its disk is nearly full: free space there" in seen["reason"]
        assert seen["dead_letters"] == 0
        await search.put(f"/{topic}/_settings", {block: None})
        await asyncio.wait_for(pipeline.drained(), 60)
        assert (pipeline.snapshot()["state"], pipeline.snapshot()["reason"]) == ("running", None)
    assert len(await search.documents(topic)) == 4


async def test_an_ingest_pipeline_that_is_not_there_stops_and_dead_letters_nothing(
    stack: Stack, search: Search, read_topic: DlqReader
) -> None:
    topic = search.name("no-pipeline")
    await fill(stack, topic, PEOPLE)
    async with piping(stack, search, topic, index=topic, pipeline="없는 것") as pipeline:
        with pytest.raises(FatalError, match=r"pipeline with id .* does not exist"):
            await asyncio.wait_for(pipeline.run(), 60)
        assert (pipeline.snapshot()["dead_letters"], pipeline.snapshot()["rejected"]) == (0, 0)


async def test_documents_go_through_an_ingest_pipeline(stack: Stack, search: Search) -> None:
    topic = search.name("ingest")
    # the published jars of Elasticsearch have no processors: there it is a pipeline that changes nothing
    steps = [] if search.flavour == "elasticsearch" else [{"set": {"field": "from", "value": "파이프"}}]
    await search.put("/_ingest/pipeline/빨강", {"processors": steps})
    await deliver(stack, search, topic, [(None, '{"a": 1}')], index=topic, pipeline="빨강")
    (document,) = (await search.documents(topic)).values()
    assert document == ({"a": 1, "from": "파이프"} if steps else {"a": 1})


async def test_a_data_stream(stack: Stack, search: Search) -> None:
    topic = search.name("stream")
    template = {"index_patterns": [f"{topic}*"], "data_stream": {}, "priority": 500}
    await search.put(f"/_index_template/{topic}", template)
    records: list[Record] = [(None, '{"a": 1}'), (None, '{"@timestamp": "2026-01-01T00:00:00Z", "a": 2}')]
    await deliver(stack, search, topic, records, index=topic, data_stream=True)
    hits = await search.hits(topic)
    assert {hit["_source"]["a"] for hit in hits.values()} == {1, 2}
    assert all(hit["_index"].startswith(".ds-") and hit["_source"]["@timestamp"] for hit in hits.values())
    again = await deliver(stack, search, topic, [], index=topic, data_stream=True)
    assert again["dead_letters"] == 0
    if search.flavour == "opensearch":
        (stream,) = (await search.http.get(f"/_data_stream/{topic}")).json()["data_streams"]
        assert stream["timestamp_field"] == {"name": "@timestamp"}


def configuration(stack: Stack, search: Search, topic: str, **sink: Any) -> dict[str, Any]:
    event = {"timestamp": "$now", "userAgent": "$header.user-agent", "colorName": "$query.color"}
    return {
        "kafka": {"bootstrap.servers": stack.bootstrap},
        "management": {"listen": "127.0.0.1:0"},
        "collector": {
            "listen": "127.0.0.1:0",
            "routes": [{"method": "GET", "path": "/a", "topic": topic, "event": event}],
        },
        "pipelines": {"p": {"topics": [topic], "sink": {"type": "elasticsearch", "url": search.url, **sink}}},
    }


async def index_create(file: Path, config: dict[str, Any], *arguments: str) -> tuple[int, Any]:
    """Exit code and document of ``kafkapipe index create``."""
    await asyncio.to_thread(file.write_text, json.dumps(config))
    command = [sys.executable, "-m", "kafkapipe", "index", "create", str(file), "p", "--json", *arguments]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert err == b""
    return process.returncode or 0, json.loads(out)


async def make(config: dict[str, Any]) -> list[indexes.Made]:
    """The same, in this process."""
    loaded = loads(json.dumps(config))
    _, sink = indexes.search_pipeline(loaded, "p")
    return await indexes.create(sink, await indexes.plan(loaded, "p"))


async def guess(config: dict[str, Any]) -> str:
    """What ``kafkapipe run`` would warn of."""
    loaded = loads(json.dumps(config))
    return await indexes.by_guess("p", *indexes.search_pipeline(loaded, "p"))


EVENTS: list[Record] = [
    (None, '{"timestamp":"2026-01-01T10:00:00.000+0900","userAgent":"Mozilla","colorName":"빨강","n":1}'),
    (None, '{"timestamp":"2026-01-01T10:00:01.000+0900","userAgent":"curl","colorName":"red","n":1.5}'),
]
TYPES = {"timestamp": "date", "userAgent": "text", "colorName": "keyword", "n": "double"}


async def types_of(search: Search, index: str) -> dict[str, str]:
    (found,) = (await search.http.get(f"/{index}/_mapping")).raise_for_status().json().values()
    return {name: each["type"] for name, each in found["mappings"]["properties"].items()}


async def test_an_index_is_made_for_the_events(
    stack: Stack, search: Search, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    topic = search.name("created")
    config = configuration(stack, search, topic, index=topic)
    async with App(loads(json.dumps(config))):
        async with asyncio.timeout(30):
            while "kafkapipe index create CONFIG p" not in caplog.text:  # noqa: ASYNC110 - no event of it
                await asyncio.sleep(0.02)
    await fill(stack, topic, EVENTS)
    assert await guess(config) == (
        f"index {topic} is not there: the server would guess each field's type from the first document "
        "that has it"
    )
    code, seen = await index_create(tmp_path / "c.yaml", config, "--dry-run")
    assert (code, seen["sampled"], [each["state"] for each in seen["made"]]) == (0, 2, ["planned"])
    assert (await search.http.head(f"/{topic}")).status_code == 404
    assert [each.state for each in await make(config)] == ["created"]
    assert await types_of(search, topic) == TYPES
    settings = (await search.http.get(f"/{topic}/_settings")).json()[topic]["settings"]["index"]
    assert settings["number_of_replicas"] == "0"  # of one node
    assert await guess(config) == ""
    snapshot = await deliver(stack, search, topic, [], index=topic)
    assert (snapshot["records_out"], snapshot["dead_letters"]) == (2, 0)
    assert [(each.state, each.differs) for each in await make(config)] == [("exists", ())]
    await search.http.delete(f"/{topic}")
    await search.put(f"/{topic}", {"mappings": {"properties": {"n": {"type": "long"}}}})
    code, seen = await index_create(tmp_path / "c.yaml", config)
    assert code == 1
    assert "n: long, not double" in seen["made"][0]["differs"]


async def test_a_template_is_made_for_names_that_records_tell(stack: Stack, search: Search) -> None:
    topic = search.name("by-color")
    config = configuration(stack, search, topic, index=f"{topic}-{{field:colorName}}")
    await fill(stack, topic, EVENTS)
    assert (await guess(config)).startswith(f"indexes {topic}-* have no template: the server would guess")
    assert [each.state for each in await make(config)] == ["created"]
    assert await guess(config) == ""
    await deliver(stack, search, topic, [], index=f"{topic}-{{field:colorName}}")
    assert await types_of(search, f"{topic}-빨강") == TYPES
    assert [(each.state, each.differs) for each in await make(config)] == [("exists", ())]
    await search.http.delete("/_index_template/p")


async def test_a_data_stream_is_made_ready(stack: Stack, search: Search) -> None:
    topic = search.name("made-ready")
    config = configuration(stack, search, topic, index=topic, data_stream=True)
    await fill(stack, topic, EVENTS)
    assert await guess(config) == f"no index template makes {topic} a data stream: it would be a plain index"
    await make(config)
    assert await guess(config) == ""
    await deliver(stack, search, topic, [], index=topic, data_stream=True)
    assert {hit["_index"][:4] for hit in (await search.hits(topic)).values()} == {".ds-"}
    assert await types_of(search, topic) == {**TYPES, "@timestamp": "date"}
    await search.http.delete("/_index_template/p")


async def test_a_node_that_stops_and_starts_again(stack: Stack, search: Search) -> None:
    topic = search.name("node")
    await fill(stack, topic, PEOPLE[:2])
    async with piping(stack, search, topic, index=topic) as pipeline:
        await asyncio.wait_for(pipeline.drained(), 60)
        await search.stack.kill("search")
        await send(stack, topic, PEOPLE[2:])
        seen = await until(pipeline, lambda seen: seen["state"] == "paused")
        assert "connection refused" in seen["reason"]
        await search.stack.start_server("search")
        await asyncio.wait_for(pipeline.drained(), 60)
        assert pipeline.snapshot()["state"] == "running"
    assert set(await search.documents(topic)) == {f"{topic}+0+{offset}" for offset in range(4)}
