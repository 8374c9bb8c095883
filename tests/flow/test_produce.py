"""`kafkapipe produce`: lines into a topic as they are."""

import asyncio
import subprocess
import sys

import pytest

from kafkapipe._core import MockCluster

LINES = ["홍길동", '{"n":9007199254740993}', "", 'a "quoted"\tline ', "last, without a newline"]


@pytest.fixture
def cluster():
    with MockCluster() as cluster:
        cluster.create_topic("t", 1)
        yield cluster


def produce(cluster, *arguments, data=None):
    command = [sys.executable, "-m", "kafkapipe", "--bootstrap", cluster.bootstrap, "produce", *arguments]
    return asyncio.to_thread(
        subprocess.run, command, input=data, capture_output=True, timeout=60, check=False
    )


async def values(cluster, read_topic):
    return [record.value.decode() for record in await asyncio.to_thread(read_topic, cluster.bootstrap, "t")]


async def test_lines_of_stdin(cluster, read_topic):
    result = await produce(cluster, "t", data="\n".join(LINES).encode())
    assert (result.returncode, result.stdout, result.stderr) == (0, b"t: 4 records\n", b"")
    assert await values(cluster, read_topic) == [line for line in LINES if line]


async def test_lines_of_a_file_in_more_than_one_batch(cluster, read_topic, tmp_path):
    file = tmp_path / "줄.txt"
    lines = [f"{n} 홍길동" for n in range(12_001)]
    file.write_bytes("\r\n".join(lines).encode() + b"\r\n")
    result = await produce(cluster, "t", str(file))
    assert (result.returncode, result.stdout) == (0, b"t: 12001 records\n")
    assert await values(cluster, read_topic) == lines


async def test_what_cannot_be_sent_is_one_line_and_exit_code_1(cluster):
    data = b"short\n" + b"x" * 2_000_000 + b"\n"
    result = await produce(cluster, "t", data=data)
    assert (result.returncode, result.stdout) == (1, b"")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(b"kafkapipe: 1 records were not sent, the first is number 2: ")
    assert b"Traceback" not in result.stderr


async def test_a_file_that_is_not_there(cluster):
    result = await produce(cluster, "t", "/no/such/file")
    assert result.returncode == 2
    assert b"/no/such/file" in result.stderr
