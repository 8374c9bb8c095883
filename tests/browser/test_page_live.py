"""From a click in a browser to a line in HDFS and a document in Elasticsearch, all of them real."""

import asyncio
import json
import time

import httpx
import pytest

from kafkapipe.admin import Admin
from kafkapipe.app import App
from kafkapipe.config import loads
from kafkapipe.stack import hdfs_listing

pytestmark = pytest.mark.live

TOPIC = "page-select-color"
CONFIG = """
kafka: {{bootstrap.servers: "{stack.bootstrap}"}}
collector:
  listen: 127.0.0.1:0
  routes:
    - {{method: GET, path: /api/select, topic: page-select-color, cors: ["*"],
       event: {{timestamp: $now, userAgent: $header.user-agent,
               colorName: $query.color, userName: $query.user}}}}
pipelines:
  page-to-hdfs:
    topics: [page-select-color]
    sink: {{type: hdfs, url: "{stack.webhdfs_url}", user: hadoop,
           path: "/data/page/color-{{partition}}-{{offset}}.log", rotate: {{records: 10, age: 1s}}}}
  page-to-elasticsearch:
    topics: [page-select-color]
    sink: {{type: elasticsearch, url: "{stack.search_url}", index: page-to-es}}
management: {{listen: 127.0.0.1:0}}
"""


@pytest.fixture
async def app(stack):
    async with Admin(stack.bootstrap) as admin:
        await admin.create_topic(TOPIC, partitions=3)
    async with App(loads(CONFIG.format(stack=stack))) as app:
        yield app


@pytest.fixture
async def http():
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as http:
        yield http


async def hdfs_lines(http, stack):
    """Every line of every published file."""
    lines = []
    top = await hdfs_listing(stack.webhdfs_url, "/data", recursive=False)
    if "/data/page" not in [entry.path for entry in top]:
        return lines
    for entry in await hdfs_listing(stack.webhdfs_url, "/data/page"):
        if not entry.is_folder and entry.path.endswith(".log"):
            opened = await http.get(f"{stack.webhdfs_url}/webhdfs/v1{entry.path}", params={"op": "OPEN"})
            assert opened.content.endswith(b"\n")
            lines += opened.content.splitlines()
    return lines


async def documents(http, stack):
    """Source of every document, by id."""
    await http.post(f"{stack.search_url}/page-to-es/_refresh")
    found = await http.get(f"{stack.search_url}/page-to-es/_search", params={"size": 100})
    if found.status_code == 404:
        return {}
    return {hit["_id"]: hit["_source"] for hit in found.json()["hits"]["hits"]}


async def until_there_are(count, app, ask, *arguments):
    deadline = time.monotonic() + 60
    while len(found := await ask(*arguments)) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} after a minute: {app.pipelines()}"
        await asyncio.sleep(0.2)
    return found


async def test_a_korean_name_is_found_in_hdfs_and_in_elasticsearch(app, stack, http, open_page, read_topic):
    names = ["홍길동", '"홍" & 길동\\']
    page = await asyncio.to_thread(open_page, app.collector_url)
    for name in names:
        await asyncio.to_thread(page.rename, name)
        await asyncio.to_thread(page.click, "red")
        await asyncio.to_thread(page.wait.until, lambda _, name=name: page.sent()[:1] == [name])

    records = await asyncio.to_thread(read_topic, stack.bootstrap, TOPIC, 3)
    assert sorted(json.loads(record.value)["userName"] for record in records) == sorted(names)
    assert any('"colorName":"red","userName":"홍길동"}'.encode() in record.value for record in records)

    lines = await until_there_are(len(names), app, hdfs_lines, http, stack)
    assert sorted(lines) == sorted(record.value for record in records)

    found = await until_there_are(len(names), app, documents, http, stack)
    assert found == {
        f"{TOPIC}+{record.partition}+{record.offset}": json.loads(record.value) for record in records
    }
