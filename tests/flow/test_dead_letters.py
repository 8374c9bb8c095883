"""Dead letters on the mock cluster: listed, shown, and sent again exactly as chosen, once."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import kafkapipe as kp
from kafkapipe.config import Config, loads
from kafkapipe.dead_letters import Choice, RedriveResult, redrive, scan

PARTITIONS = 2
HEADERS = [("추적", b"a\tb"), ("empty", None)]
pytestmark = pytest.mark.timeout(90)


def value(partition: int, number: int) -> bytes | None:
    """Each third has no field that the path names; the first of them is no JSON, the second a tombstone."""
    if number == 0:
        return f'이건 JSON이 아니다 "{partition}"'.encode()
    if number == 3:
        return None
    name = {} if number % 3 == 0 else {"user": "홍길동"}
    return json.dumps({"n": number, "big": 2**53 + 1 + partition, **name}, ensure_ascii=False).encode()


BAD = [(partition, number) for partition in range(PARTITIONS) for number in (0, 3, 6, 9)]


def document(cluster: kp.MockCluster, folder: Path, path: str = "{topic}-{field:user}") -> dict[str, Any]:
    sink = {"type": "file", "path": f"{folder}/{path}/{{topic}}-{{partition}}-{{offset}}.log"}
    pipeline = {
        "topics": ["t"],
        "sink": {**sink, "rotate": {"age": "200ms"}, "format": "raw"},
        "dead_letter": {"topic": "t.dlq"},
    }
    return {"kafka": {"bootstrap.servers": cluster.bootstrap}, "pipelines": {"files": pipeline}}


def configuration(cluster: kp.MockCluster, folder: Path, path: str = "{topic}-{field:user}") -> Config:
    return loads(json.dumps(document(cluster, folder, path)))


@pytest.fixture
async def rejected(cluster: kp.MockCluster, tmp_path: Path) -> Config:
    """A pipeline that has delivered what it could; eight records are dead letters."""
    cluster.create_topic("t", PARTITIONS)
    cluster.create_topic("t.dlq", 3)
    async with kp.Producer(cluster.bootstrap) as producer:
        for partition, number in [(p, n) for p in range(PARTITIONS) for n in range(11)]:
            await producer.send(
                "t", value(partition, number), key=None if number == 6 else "열쇠".encode(), headers=HEADERS,
                partition=partition, timestamp=1_700_000_000_000 + number,
            )  # fmt: skip
    config = configuration(cluster, tmp_path)
    async with kp.Pipeline.from_config("files", config.pipelines["files"], config.kafka) as pipeline:
        await pipeline.drained()
    return config


def lines(folder: Path) -> list[tuple[int, int, bytes]]:
    """Partition and offset by the file's name, and the line, of every file that a redrive published."""
    found = []
    for file in folder.rglob("*.redrive-*.log"):
        match = re.fullmatch(r"t-(\d+)-(\d+)\.redrive-\d{8}-\d{6}-\d{3}\.log", file.name)
        assert match, file.name
        for line in file.read_bytes().splitlines():
            found.append((int(match[1]), int(match[2]), line))
    return sorted(found)


def outcomes(result: RedriveResult) -> list[tuple[int, int, str]]:
    return sorted((*each.origin[1:], each.outcome) for each in result.letters)


async def command(*words: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kafkapipe", "dlq", *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode() + err.decode()


async def test_what_is_listed_and_shown(cluster: kp.MockCluster, rejected: Config, tmp_path: Path) -> None:
    letters = await asyncio.to_thread(lambda: list(scan("t.dlq", Choice(), rejected.kafka)))
    assert sorted(each.origin for each in letters) == [("t", *place) for place in BAD]
    for each in letters:
        _, partition, number = each.origin
        assert each.value == value(partition, number)
        assert each.key == (None if number == 6 else "열쇠".encode())
        assert list(each.headers) == HEADERS
        assert (each.pipeline, each.stage) == ("files", "TASK_PUT")
    file = tmp_path / "c.yaml"
    file.write_text(json.dumps(document(cluster, tmp_path)))
    code, out = await command("list", str(file), "--json")
    rows = json.loads(out)
    assert code == 0
    assert sum(row["count"] for row in rows) == 8
    assert {(row["topic"], row["partition"]) for row in rows} == {("t", 0), ("t", 1)}
    assert min(row["first"] for row in rows) == "2023-11-14T22:13:20.000+00:00"
    assert max(row["last"] for row in rows) == "2023-11-14T22:13:20.009+00:00"
    until = "2023-11-14T22:13:20.004+00:00"  # the mock cluster knows no start by time
    code, out = await command("show", "t.dlq", "--bootstrap", cluster.bootstrap, "--json", "--to", until)
    assert code == 0
    shown = [
        (each["origin"]["partition"], each["origin"]["offset"], each["value"]) for each in json.loads(out)
    ]
    text = [None if (found := value(*place)) is None else found.decode() for place in BAD]
    wanted = [(*place, each) for place, each in zip(BAD, text, strict=True) if place[1] <= 3]
    assert sorted(shown, key=lambda each: each[:2]) == wanted
    code, out = await command("show", "t.dlq", "--bootstrap", cluster.bootstrap, "--limit", "1")
    assert code == 0
    assert out.count("from t [") == 1
    assert r"추적: a\tb" in out


async def test_sent_again_exactly_those_and_once(
    cluster: kp.MockCluster, rejected: Config, tmp_path: Path
) -> None:
    again = await redrive(rejected, "files", Choice())
    assert again.finished
    assert outcomes(again) == [(*place, "rejected") for place in BAD]
    assert all(each.message for each in again.letters)
    assert lines(tmp_path) == []
    letters = await asyncio.to_thread(lambda: list(scan("t.dlq", Choice(), rejected.kafka)))
    assert sorted(each.origin for each in letters) == sorted(2 * [("t", *place) for place in BAD])
    for each in letters:  # the reason was replaced, not added; everything else is as it was
        assert each.value == value(*each.origin[1:])
        assert list(each.headers) == HEADERS

    repaired = configuration(cluster, tmp_path, path="all")
    place = next((each.partition, each.offset) for each in letters if each.origin == ("t", 1, 6))
    one = await redrive(repaired, "files", Choice(letters=(place,)))
    assert outcomes(one) == [(1, 6, "delivered")]
    assert lines(tmp_path) == [(1, 6, value(1, 6))]
    same = await redrive(repaired, "files", Choice(letters=(place,)))
    assert (same.letters, same.before) == ((), 1)

    unreadable = await redrive(repaired, "files", Choice(reason="Has No Fields"))
    places = [(0, 0), (1, 0)]
    assert outcomes(unreadable) == [(*each, "delivered") for each in places]
    found = lines(tmp_path)
    files = {(0, 0), (1, 0), (1, 6)}  # of each partition one, by its first record
    assert {each[:2] for each in found} == files
    assert sorted(line for _, _, line in found) == sorted(value(*each) or b"" for each in [*places, (1, 6)])


async def test_wrong_words_are_told(cluster: kp.MockCluster, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(json.dumps(document(cluster, tmp_path)))
    code, out = await command("redrive", str(file), "file")
    assert (code, 'no pipeline "file"; did you mean "files"' in out) == (2, True)
    code, out = await command("show", str(file), "--offset", "x")
    assert (code, "PARTITION:OFFSET" in out) == (2, True)
