"""Each script of examples/ does what it says, on the real servers."""

import asyncio
import gzip
import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import polars
import pytest

import kafkapipe as kp
from kafkapipe import _core
from kafkapipe.stack import Stack
from kafkapipe.stack.sasl import PLAIN, SCRAM, USERS

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

CLICKS = 1000


async def start(stack: Stack, script: str, *arguments: str, **env: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / script), *arguments,
        env={**os.environ, "KAFKAPIPE_BOOTSTRAP": stack.bootstrap, **env},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def run(stack: Stack, script: str, *arguments: str, **env: str) -> str:
    process = await start(stack, script, *arguments, **env)
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert (process.returncode, err.decode()) == (0, "")
    return out.decode()


async def until(process: asyncio.subprocess.Process, text: bytes, times: int = 1) -> bytes:
    """What the process prints until there was this text so often."""
    assert process.stdout
    seen = b""
    async with asyncio.timeout(60):
        while seen.count(text) < times:
            line = await process.stdout.readline()
            assert line, (seen, await process.stderr.read() if process.stderr else None)
            seen += line
    return seen


@pytest.fixture(scope="module")
def clicks() -> str:
    """The name of a topic that `send` filled."""
    return "example-clicks"


@pytest.fixture
async def filled(stack: Stack, clicks: str) -> str:
    """A topic with a thousand clicks in three partitions, made once."""
    async with kp.Admin(stack.bootstrap) as admin:
        if clicks not in [topic.name for topic in await admin.list_topics()]:
            await admin.create_topic(clicks, partitions=3)
            assert "999 delivered, 0 failed" in await run(stack, "produce.py", clicks)
    return clicks


def names(lines: list[str]) -> list[str]:
    return sorted(json.loads(line)["userName"] for line in lines)


ALL_NAMES = sorted(f"홍길동 {n}" for n in range(CLICKS))


async def test_each_script_is_in_the_index_and_runs_here() -> None:
    scripts = {path.name for path in await asyncio.to_thread(lambda: [*EXAMPLES.glob("*.py")])}
    texts = (EXAMPLES / "README.md", Path(__file__))
    index, here = await asyncio.to_thread(lambda: [path.read_text() for path in texts])
    assert {name for name in scripts if f"]({name})" not in index or f'"{name}"' not in here} == set()


async def test_topics(stack: Stack) -> None:
    out = await run(stack, "topics.py", "example-topics")
    assert out.count("leader 1, in sync (1,)") == 3
    async with kp.Admin(stack.bootstrap) as admin:
        assert "example-topics" not in [topic.name for topic in await admin.list_topics()]


async def test_apply_topics(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "topics.yaml"
    await asyncio.to_thread(file.write_text, "topics: {example-applied: {partitions: 2}}")
    assert "create example-applied: 2 partitions" in await run(stack, "apply_topics.py", str(file))
    assert await run(stack, "apply_topics.py", str(file)) == "0 changes made\n"


async def test_produce_csv(stack: Stack, tmp_path: Path) -> None:
    async with kp.Admin(stack.bootstrap) as admin:
        await admin.create_topic("example-csv", partitions=3)
    file = tmp_path / "주문.csv"
    rows = [f'{9007199254740993 + n},"홍""길동"" {n % 7}","한 줄\n두 줄"' for n in range(1500)]
    await asyncio.to_thread(file.write_text, "\n".join(["id,user,text", *rows]), encoding="utf-8")
    out = await run(stack, "produce_csv.py", "example-csv", str(file), "user")
    assert out == "1000 rows sent\n500 rows sent\n"
    records = kp.read("example-csv", bootstrap=stack.bootstrap).head(2000)
    rows_sent = [json.loads(record["value"]) for record in records]
    assert {row["id"] for row in rows_sent} == {str(9007199254740993 + n) for n in range(1500)}
    assert rows_sent[0]["text"] == "한 줄\n두 줄"
    by_key = {record["key"]: record["partition"] for record in records}
    assert all(by_key[record["key"]] == record["partition"] for record in records)
    assert sorted(int(dict(record["headers"])["line"]) for record in records) == list(range(3, 3002, 2))


async def test_consume_group_stops_on_a_signal_and_goes_on_behind(stack: Stack, filled: str) -> None:
    process = await start(stack, "consume_group.py", filled, "example-group")
    seen = b""
    while seen.count("홍길동".encode()) < CLICKS:
        seen += await until(process, b"records done")
    process.send_signal(signal.SIGTERM)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, err) == (0, b"")
    shown = [line.split(b": ", 1)[1].decode() for line in seen.splitlines() if b"records done" not in line]
    assert names(shown) == ALL_NAMES
    assert "example-group: Empty, 0 members, lag 0" in await run(stack, "group_lag.py", "example-group")
    assert "example-group: Empty" in await run(stack, "group_lag.py")

    since = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    out = await run(stack, "reset_group.py", "example-group", filled, since)
    assert "-> 0" in out
    assert "nothing changed" in out
    assert "lag 0\n" in await run(stack, "group_lag.py", "example-group")
    assert "done" in await run(stack, "reset_group.py", "example-group", filled, since, "--execute")
    assert f"lag {CLICKS}" in await run(stack, "group_lag.py", "example-group")


async def test_transform_exactly_once(stack: Stack, filled: str) -> None:
    target = f"{filled}-upper"
    async with kp.Admin(stack.bootstrap) as admin:
        await admin.create_topic(target, partitions=2)

    async def values(topic: str) -> list[bytes]:
        table = await asyncio.to_thread(kp.read, topic, bootstrap=stack.bootstrap)
        return sorted(record["value"] for record in table.head(2 * CLICKS))

    process = await start(stack, "transform_exactly_once.py", filled, target)
    try:
        async with asyncio.timeout(120):
            while len(found := await values(target)) < CLICKS:  # noqa: ASYNC110 - a topic's records
                await asyncio.sleep(0.2)
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, err) == (0, b"")
    assert found == sorted(value.upper() for value in await values(filled))


async def test_consume_from_time(stack: Stack, filled: str) -> None:
    out = await run(stack, "consume_from_time.py", filled, "60")
    assert out.startswith(f"{CLICKS} records to read\n")
    assert len(out.splitlines()) == 1 + CLICKS


async def test_consume_to_files(stack: Stack, filled: str, tmp_path: Path) -> None:
    out = await run(stack, "consume_to_files.py", filled, str(tmp_path))
    assert sum(int(line.split()[0]) for line in out.splitlines()) == CLICKS
    files = await asyncio.to_thread(lambda: [path.read_bytes() for path in tmp_path.glob("*.gz")])
    lines = [line for each in files for line in gzip.decompress(each).decode().splitlines()]
    assert names(lines) == ALL_NAMES


async def test_read_to_tables(stack: Stack, filled: str, tmp_path: Path) -> None:
    out = await run(stack, "read_to_polars.py", filled, "-1h", "latest")
    assert f"at most {CLICKS} records" in out
    assert f"red       ┆ {CLICKS}" in out
    ranges = kp.read(filled, bootstrap=stack.bootstrap).estimate().partitions
    largest = max(ranges, key=lambda each: each.records)
    out = await run(stack, "read_to_pandas.py", filled, str(largest.partition), str(largest.end - 5))
    assert out.startswith("5 records")
    assert out.count("홍길동") == 3
    file = tmp_path / "clicks.parquet"
    expected = f"{CLICKS} rows, partition, offset, timestamp, colorName, userName\n"
    assert await run(stack, "read_to_parquet.py", filled, "-1h", str(file)) == expected
    assert sorted(polars.read_parquet(file)["userName"]) == ALL_NAMES


async def test_connect_with_password(stack: Stack, filled: str) -> None:
    version = tuple(int(part) for part in _core.versions()["librdkafka"].split(".")[:3])
    mechanism = SCRAM if version >= (2, 6, 1) else PLAIN
    config = stack.sasl_config("admin", mechanism)
    arguments = (config["bootstrap.servers"], config["ssl.ca.location"], mechanism)
    user = {"KAFKA_USER": "admin", "KAFKA_PASSWORD": USERS["admin"]}
    assert f"{filled}: 3 partitions" in await run(stack, "connect_with_password.py", *arguments, **user)
    process = await start(
        stack, "connect_with_password.py", *arguments, KAFKA_USER="admin", KAFKA_PASSWORD="틀린"
    )
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert err.startswith(b"FatalError: ")
    assert b"check sasl.mechanism, sasl.username and sasl.password" in err


async def test_without_a_server(stack: Stack) -> None:
    assert await run(stack, "without_a_server.py") == "passed\n"


async def test_topic_to_files_hdfs_and_index(stack: Stack, filled: str, tmp_path: Path) -> None:
    for expected in (f"{CLICKS} records written", "0 records written"):
        assert expected in await run(stack, "topic_to_files.py", filled, str(tmp_path))
    files = await asyncio.to_thread(lambda: [path.read_text() for path in tmp_path.glob("*.jsonl")])
    assert names([line for text in files for line in text.splitlines()]) == ALL_NAMES

    folder = "/data/example-clicks"
    expected = f"{CLICKS} records written"
    assert expected in await run(stack, "topic_to_hdfs.py", filled, stack.webhdfs_url, folder)
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as http:
        root = f"{stack.webhdfs_url}/webhdfs/v1{folder}"
        listing = (await http.get(f"{root}?op=LISTSTATUS&user.name=hadoop")).json()["FileStatuses"][
            "FileStatus"
        ]
        paths = [each["pathSuffix"] for each in listing if each["type"] == "FILE"]
        texts = [(await http.get(f"{root}/{path}?op=OPEN&user.name=hadoop")).text for path in paths]
    assert names([line for text in texts for line in text.splitlines()]) == ALL_NAMES

    process = await start(stack, "topic_to_elasticsearch.py", filled, stack.search_url)
    await until(process, f"{CLICKS} indexed".encode())
    process.send_signal(signal.SIGINT)
    await process.communicate()
    async with httpx.AsyncClient(trust_env=False) as http:
        await http.post(f"{stack.search_url}/{filled}/_refresh")
        assert (await http.get(f"{stack.search_url}/{filled}/_count")).json()["count"] == CLICKS
