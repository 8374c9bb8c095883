"""The hdfs sink on a real HDFS: a folder that it may not write heals; a .gz file is one whole gzip file."""

import gzip
import json
from urllib.parse import quote

import httpx
import pytest

import kafkapipe as kp
from kafkapipe.stack import Stack, hdfs_listing

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

FOLDER = "/user/locked"
RECORDS = 3000
SHELL = "org.apache.hadoop.fs.FsShell"


def value(number: int) -> bytes:
    text = {"n": number, "big": 2**53 + 1, "이름": f'홍길동 "{number}"\n둘째'}
    return json.dumps(text, ensure_ascii=False).encode()


async def shell(stack: Stack, *arguments: str) -> None:
    done = await stack.run_java_tool("hdfs", SHELL, *arguments)
    assert done.returncode == 0, done.stderr


async def until(pipeline: kp.Pipeline, state: str, words: str) -> None:
    """Waits for what an operator sees; pytest's time limit ends it."""
    while (seen := pipeline.snapshot())["state"] != state or words not in str(seen):
        await pipeline._change()


async def content(url: str, path: str) -> bytes:
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True, timeout=60) as http:
        answer = await http.get(f"{url}/webhdfs/v1{quote(path)}?op=OPEN&user.name=hadoop")
    answer.raise_for_status()
    return answer.content


async def test_without_permission_it_pauses_says_so_and_heals(stack: Stack) -> None:
    topic = "files-locked"
    async with kp.Admin(stack.bootstrap) as admin:
        await admin.create_topic(topic, partitions=1)
    async with kp.Producer(stack.bootstrap) as producer:
        result = await producer.send_many(
            topic,
            [value(number) for number in range(RECORDS)],
            keys=["열쇠".encode() if number % 2 else b"\xff" for number in range(RECORDS)],
            headers=[[("출처", b"\x00\xff")] for _ in range(RECORDS)],
        )
        assert result.delivered == RECORDS
    await shell(stack, "-mkdir", "-p", FOLDER)
    await shell(stack, "-chmod", "755", FOLDER)
    sink = kp.Hdfs(
        url=[stack.webhdfs_url],
        path=f"{FOLDER}/{{partition}}-{{offset}}.log.gz",
        format="json",
        envelope=True,
        compression="gzip",
        stream="16KiB",
        rotate={"records": RECORDS, "age": "1m"},
    )
    options = {"kafka": {"bootstrap.servers": stack.bootstrap}, "name": topic, "retry": {"max": "1s"}}
    async with kp.Pipeline(topics=[topic], sink=sink, **options) as pipeline:
        await until(pipeline, "paused", "Permission denied")
        await shell(stack, "-chmod", "777", FOLDER)
        await pipeline.drained()
        await until(pipeline, "running", "")
    files = [each.path for each in await hdfs_listing(stack.webhdfs_url, FOLDER) if not each.is_folder]
    assert files == [f"{FOLDER}/0-0.log.gz"]
    packed = await content(stack.webhdfs_url, files[0])
    lines = gzip.decompress(packed).splitlines()
    assert len(packed) > 16 << 10  # it went up in pieces
    assert len(lines) == RECORDS
    for number, line in enumerate(lines):
        key = '"key":"열쇠"' if number % 2 else '"key_base64":"/w=="'
        headers = '"headers":[{"name":"출처","value_base64":"AP8="}]'
        assert line.endswith(f',{key},{headers},"value":'.encode() + value(number) + b"}")
        assert json.loads(line)["offset"] == number
