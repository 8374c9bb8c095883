"""Each script of examples/ does what it says, on the real servers."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

import kafkapipe as kp
from kafkapipe.stack import Stack

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]


async def start(stack: Stack, script: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / script), *arguments,
        env={**os.environ, "KAFKAPIPE_BOOTSTRAP": stack.bootstrap},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def run(stack: Stack, script: str, *arguments: str) -> str:
    process = await start(stack, script, *arguments)
    out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    return out.decode()


async def test_topics(stack: Stack) -> None:
    out = await run(stack, "topics.py", "example-topics")
    assert out.count("leader 1, in sync (1,)") == 3
    async with kp.Admin(stack.bootstrap) as admin:
        assert "example-topics" not in [topic.name for topic in await admin.list_topics()]


async def test_from_producing_to_files_and_index(stack: Stack, tmp_path: Path) -> None:
    async with kp.Admin(stack.bootstrap) as admin:
        await admin.create_topic("example-clicks", partitions=3)
    assert "999 delivered, 0 failed" in await run(stack, "produce.py", "example-clicks")
    for expected in ("1000 records written", "0 records written"):
        assert expected in await run(stack, "topic_to_files.py", "example-clicks", str(tmp_path))
    files = await asyncio.to_thread(lambda: [path.read_text() for path in tmp_path.glob("*.jsonl")])
    names = [json.loads(line)["userName"] for text in files for line in text.splitlines()]
    assert sorted(names) == sorted(f"홍길동 {n}" for n in range(1000))

    process = await start(stack, "topic_to_elasticsearch.py", "example-clicks", stack.search_url)
    assert process.stdout
    async with asyncio.timeout(60):
        async for line in process.stdout:
            if b"1000 indexed" in line:
                break
    process.send_signal(signal.SIGINT)
    await process.communicate()
    async with httpx.AsyncClient(trust_env=False) as http:
        await http.post(f"{stack.search_url}/example-clicks/_refresh")
        assert (await http.get(f"{stack.search_url}/example-clicks/_count")).json()["count"] == 1000
