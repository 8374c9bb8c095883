"""Replay on the mock cluster, into local files: exactly the range, restartable, beside the live group."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import kafkapipe as kp
from kafkapipe.config import Config, loads
from kafkapipe.errors import ConfigError

PARTITIONS, EACH = 2, 3000
LIVE = "live-group"
pytestmark = pytest.mark.timeout(90)


def event(partition: int, number: int) -> bytes:
    name = f'홍길동 "{number}"\nline two'
    return json.dumps(
        {"n": number, "p": partition, "name": name, "big": 2**53 + 1}, ensure_ascii=False
    ).encode()


@pytest.fixture
async def topic(cluster: kp.MockCluster) -> str:
    cluster.create_topic("t", PARTITIONS)
    async with kp.Producer(cluster.bootstrap) as producer:
        for partition in range(PARTITIONS):
            values = [event(partition, number) for number in range(EACH)]
            stamps = [1_700_000_000_000 + number for number in range(EACH)]
            sent = await producer.send_many("t", values, partitions=[partition] * EACH, timestamps=stamps)
            assert sent.delivered == EACH
    return "t"


def document(cluster: kp.MockCluster, folder: Path) -> str:
    sink = {
        "type": "file",
        "path": f"{folder}/{{topic}}-{{partition}}-{{offset}}.log",
        "rotate": {"records": 40},
    }
    return json.dumps(
        {
            "kafka": {"bootstrap.servers": cluster.bootstrap},
            "pipelines": {"files": {"topics": ["t"], "group": LIVE, "workers": 2, "sink": sink}},
        }
    )


def configuration(cluster: kp.MockCluster, folder: Path) -> Config:
    return loads(document(cluster, folder))


def published(folder: Path, mark: str = r"\.replay-\d{8}-\d{6}-\d{3}") -> list[tuple[int, int]]:
    """Partition and offset of every line of every file that is there, by the file's name; sorted."""
    found = []
    for file in folder.iterdir():
        if file.is_dir():
            continue
        match = re.fullmatch(rf"t-(\d+)-(\d+){mark}\.log", file.name)
        assert match, file.name
        for number, line in enumerate(file.read_bytes().splitlines()):
            partition, offset = int(match[1]), int(match[2]) + number
            assert line == event(partition, offset)
            found.append((partition, offset))
    return sorted(found)


def expected(start: int, end: int, partitions: range = range(PARTITIONS)) -> list[tuple[int, int]]:
    return [(partition, offset) for partition in partitions for offset in range(start, end)]


async def committed(cluster: kp.MockCluster, group: str) -> list[Any]:
    async with kp.Admin(cluster.bootstrap) as admin:
        return [
            row
            for row in await admin.call(
                "committed", group, [("t", n, 0) for n in range(PARTITIONS)], timeout=20
            )
            if row[2] >= 0
        ]


async def test_exactly_the_range_once_and_nothing_twice(
    cluster: kp.MockCluster, topic: str, tmp_path: Path
) -> None:
    config = configuration(cluster, tmp_path)
    seen = []
    first = await kp.replay(config, "files", start=130, end=1000, on_progress=seen.append)
    assert (first.finished, first.rejected) == (True, 0)
    assert first.delivered == first.read >= 1740  # a rebalance makes some be read again
    assert published(tmp_path) == expected(130, 1000)
    assert seen[-1].done == seen[-1].total == 1740
    assert await committed(cluster, LIVE) == []
    assert not list((tmp_path / "_tmp").iterdir())

    second = await kp.replay(config, "files", start=130, end=1000)
    assert second.nothing_to_do
    assert second.group == first.group
    assert published(tmp_path) == expected(130, 1000)


async def test_by_time_of_one_partition_into_the_sink_of_a_file(
    cluster: kp.MockCluster, topic: str, tmp_path: Path
) -> None:
    """The mock cluster knows no offsets by time: an end by time alone is judged record by record."""
    other = tmp_path / "sink.yaml"
    other.write_text(f"sink: {{type: file, path: '{tmp_path}/x/{{topic}}-{{partition}}-{{offset}}.log'}}")
    config = configuration(cluster, tmp_path / "live")
    until = "2023-11-14T22:13:20.500+00:00"
    result = await kp.replay(config, "files", start="earliest", end=until, partitions=[1], sink=str(other))
    assert result.finished
    assert result.delivered >= 500
    assert published(tmp_path / "x", mark="") == expected(0, 500, range(1, 2))
    assert not (tmp_path / "live").exists()


async def run_command(config: Path, *more: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kafkapipe", "replay", str(config), "files",
        "--from", "earliest", "--to", "latest", *more,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_killed_in_the_middle_the_same_command_goes_on(
    cluster: kp.MockCluster, topic: str, tmp_path: Path
) -> None:
    """What `latest` meant when it began stands: what came since is replayed by the call after."""
    config, folder = tmp_path / "c.yaml", tmp_path / "out"
    config.write_text(document(cluster, folder))
    process = await run_command(config)
    while not folder.exists() or len(list(folder.iterdir())) < 20:
        assert process.returncode is None
        await asyncio.sleep(0.01)
    process.kill()
    await process.communicate()
    before = len(published(folder))
    assert 0 < before < EACH * PARTITIONS

    async with kp.Producer(cluster.bootstrap) as producer:
        await producer.send("t", event(0, EACH), partition=0)
    process = await run_command(config, "--json")
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    summary = json.loads(out)
    assert summary["finished"] is True
    assert summary["delivered"] > 0
    assert published(folder) == expected(0, EACH)
    assert not list((folder / "_tmp").iterdir())

    process = await run_command(config)
    out, _ = await process.communicate()
    assert (process.returncode, b"records delivered" in out) == (0, True), out
    assert published(folder) == sorted([*expected(0, EACH), (0, EACH)])
    process = await run_command(config)
    out, _ = await process.communicate()
    assert (process.returncode, b"nothing to do" in out) == (0, True)
    assert await committed(cluster, LIVE) == []


async def test_a_record_that_can_never_be_delivered_ends_it(
    cluster: kp.MockCluster, topic: str, tmp_path: Path
) -> None:
    config = configuration(cluster, tmp_path)
    poisoned = config.pipelines["files"].sink.model_copy(
        update={"path": f"{tmp_path}/{{field:없다}}-{{partition}}-{{offset}}.log"}
    )
    pipelines = {"files": config.pipelines["files"].model_copy(update={"sink": poisoned})}
    with pytest.raises(kp.FatalError, match="can never be delivered"):
        await kp.replay(config.model_copy(update={"pipelines": pipelines}), "files", start=0, end=5)
    assert published(tmp_path) == []


async def test_wrong_arguments_are_told(cluster: kp.MockCluster, topic: str, tmp_path: Path) -> None:
    config = configuration(cluster, tmp_path)
    with pytest.raises(ConfigError, match='no pipeline "file"; did you mean "files"'):
        await kp.replay(config, "file", start=0, end=1)
    with pytest.raises(ConfigError, match="neither a pipeline of the configuration nor a file"):
        await kp.replay(config, "files", start=0, end=1, sink="nowhere.yaml")
    with pytest.raises(ConfigError, match="from 'yesterday'"):
        await kp.replay(config, "files", start="yesterday", end=1)
    with pytest.raises(kp.RejectedError, match="no partition 7"):
        await kp.replay(config, "files", start=0, end=1, partitions=[7])
