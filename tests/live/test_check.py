"""`kafkapipe check` against real servers: what it finds is true, and it changes nothing."""

import httpx
import pytest
import pytest_asyncio

from kafkapipe.admin import Admin
from kafkapipe.check import check
from kafkapipe.config import loads
from kafkapipe.stack import hdfs_listing

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]
TOPIC = "check-me"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def topic(stack):
    async with Admin(stack.bootstrap) as admin:
        await admin.create_topic(TOPIC, partitions=3)
        yield TOPIC
        await admin.delete_topic(TOPIC)


async def outcome(stack, sink, topics=TOPIC, more=""):
    """What was found, by the last word of each item's name: a topic or a URL."""
    text = f"""
kafka: {{bootstrap.servers: "{stack.bootstrap}"}}
pipelines: {{a: {{topics: ["{topics}"], sink: {sink} {more}}}}}
management: {{listen: "127.0.0.1:0"}}
"""
    return {item.name.split()[-1]: item for item in await check(loads(text))}


def hdfs(stack, **options):
    return {"type": "hdfs", "url": stack.webhdfs_url, **options}


async def test_all_is_well(stack, topic):
    before = await hdfs_listing(stack.webhdfs_url, "/")
    found = await outcome(stack, hdfs(stack, path="/data/not/yet/{partition}-{offset}"))
    assert [item.detail for item in found.values() if not item.ok] == []
    assert found[stack.bootstrap].detail.startswith("answers; ")
    assert found[topic].detail == "3 partitions"
    assert found[stack.webhdfs_url].detail == "hadoop may write below /data"
    assert await hdfs_listing(stack.webhdfs_url, "/") == before


async def test_a_user_without_rights(stack, topic):
    sink = hdfs(stack, user="nobody", path="/user/hadoop/x/{partition}-{offset}")
    item = (await outcome(stack, sink))[stack.webhdfs_url]
    assert not item.ok
    assert "HTTP 403 for /user/hadoop: Permission denied: user=nobody" in item.detail
    assert (
        item.advice == "give nobody the folder (hdfs dfs -chown nobody /user/hadoop), or choose another one"
    )


async def test_a_topic_that_is_not_there(stack, topic):
    found = await outcome(
        stack, "{type: null}", topics="no-such-topic", more=", dead_letter: {topic: gone.dlq}"
    )
    assert not found["no-such-topic"].ok
    assert found["no-such-topic"].advice == (
        "create it: kafkapipe topics create no-such-topic --partitions 3"
    )
    assert not found["gone.dlq"].ok
    async with Admin(stack.bootstrap) as admin:
        names = [each.name for each in await admin.list_topics()]
    assert "no-such-topic" not in names  # asking has not made it


async def test_a_pattern_tells_what_it_matches(stack, topic):
    found = await outcome(stack, "{type: null}", topics="^check-.*")
    assert found["^check-.*"].detail == f"matches {topic}"


async def test_an_index_that_is_blocked(stack, topic):
    sink = {"type": "elasticsearch", "url": stack.search_url, "index": "check-blocked"}
    item = (await outcome(stack, sink))[stack.search_url]
    assert item.ok
    assert "index check-blocked is made with the first document, its mapping guessed" in item.detail
    async with httpx.AsyncClient(base_url=stack.search_url, trust_env=False, timeout=30) as http:
        (await http.put("/check-blocked")).raise_for_status()
        item = (await outcome(stack, sink))[stack.search_url]
        assert (item.ok, item.detail.endswith("index check-blocked is there")) == (True, True)
        block = {"index.blocks.read_only_allow_delete": True}
        (await http.put("/check-blocked/_settings", json=block)).raise_for_status()
        item = (await outcome(stack, sink))[stack.search_url]
        await http.delete("/check-blocked")
    assert not item.ok
    assert item.detail == "index check-blocked is blocked: read_only_allow_delete"
