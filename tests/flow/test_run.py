"""`kafkapipe run` as a process of its own, on the mock cluster: drain, failure of a part, ports, signals."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from kafkapipe._core import MockCluster
from kafkapipe.producer import Producer

NAME = '홍길동 "quoted"\nline two'


@pytest.fixture
def cluster():
    with MockCluster() as cluster:
        cluster.create_topic("t", 3)
        yield cluster


@pytest.fixture
def free_port():
    def choose():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return choose


@pytest.fixture
def configure(tmp_path, cluster, free_port):
    """Writes a configuration with these parts, and the management port that it has."""

    def write(**parts):
        parts = {
            "kafka": {"bootstrap.servers": cluster.bootstrap},
            "management": {"listen": f"127.0.0.1:{free_port()}"},
            **parts,
        }
        file = tmp_path / "c.yaml"
        file.write_text(json.dumps(parts))
        return file, f"http://{parts['management']['listen']}"

    return write


def to_files(folder, **more):
    sink = {"type": "file", "path": f"{folder}/{{partition}}-{{offset}}", "rotate": {"age": "1h"}}
    return {"topics": ["t"], "sink": sink, **more}


@asynccontextmanager
async def running(file):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kafkapipe", "run", str(file),
        stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def http():
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        yield http


async def until(check, seconds=30):
    """What ``check`` returns, as soon as it is true."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := await check():
                return found
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"not within {seconds} s: {check.__name__}"
        await asyncio.sleep(0.05)


async def read_in(http, management, pipeline, count):
    """Wait until a pipeline has read so many records."""

    async def enough():
        text = (await http.get(f"{management}/metrics")).text
        sample = f'kafkapipe_pipeline_records_in_total{{pipeline="{pipeline}"}} {count:.1f}'
        return sample in text

    await until(enough)


async def ends(process, within):
    """Exit code and stderr of a process that ends by itself in so many seconds."""
    start = time.monotonic()
    _, stderr = await asyncio.wait_for(process.communicate(), within + 20)
    assert time.monotonic() - start < within
    return process.returncode, stderr.decode()


async def test_sigterm_drains(configure, free_port, http, tmp_path):
    listen = f"127.0.0.1:{free_port()}"
    route = {"method": "POST", "path": "/events", "topic": "t", "ack": "queued"}
    file, management = configure(
        collector={"listen": listen, "routes": [route]},
        pipelines={"a": to_files(tmp_path / "out", workers=3)},
    )
    async with running(file) as process:

        async def answers():
            return (await http.get(f"{management}/healthz")).status_code == 200

        await until(answers)
        events = [
            json.dumps({"n": n, "name": NAME, "big": 2**53 + 1}, ensure_ascii=False) for n in range(200)
        ]
        assert (await http.post(f"http://{listen}/events", content="\n".join(events))).status_code == 202
        await read_in(http, management, "a", 200)
        assert not list((tmp_path / "out").glob("[0-9]*"))  # no rotation rule has fired
        process.send_signal(signal.SIGTERM)
        assert (await ends(process, 10))[0] == 0
    found = [path.read_text() for path in (tmp_path / "out").glob("[0-9]*")]
    assert sorted("".join(found).splitlines()) == sorted(events)
    assert not list((tmp_path / "out" / "_tmp").iterdir())


async def test_a_pipeline_that_fails_leaves_the_other_running(configure, cluster, http, tmp_path):
    poisoned = to_files(tmp_path / "a")
    poisoned["sink"]["path"] = f"{tmp_path}/a/{{field:name}}-{{partition}}-{{offset}}"
    file, management = configure(pipelines={"a": poisoned, "b": to_files(tmp_path / "b")})
    async with running(file) as process:
        async with Producer(cluster.bootstrap) as producer:
            await producer.send("t", b"this is no JSON: \xff", partition=0)

        async def broken():
            answer = await http.get(f"{management}/readyz")
            return answer.json() if "pipeline a" in answer.text and "failed" in answer.text else None

        document = await until(broken)
        assert document["ready"] is False
        assert list(document["problems"]) == ["pipeline a"]
        await read_in(http, management, "b", 1)
        process.send_signal(signal.SIGINT)
        code, stderr = await ends(process, 10)
    assert code == 0
    assert "pipeline a" in stderr
    assert [path.read_bytes() for path in (tmp_path / "b").glob("0-0")] == [b"this is no JSON: \xff\n"]


async def test_without_kafka_it_waits_and_says_so(configure, free_port, http, tmp_path):
    servers = {"bootstrap.servers": f"127.0.0.1:{free_port()}"}
    file, management = configure(kafka=servers, pipelines={"a": to_files(tmp_path)})
    async with running(file) as process:

        async def unready():
            answer = await http.get(f"{management}/readyz")
            return answer.json()["problems"] if answer.status_code == 503 else None

        problems = await until(unready)
        assert "kafka" in problems
        process.send_signal(signal.SIGTERM)
        assert (await ends(process, 10))[0] == 0


async def test_queued_events_that_kafka_never_took_are_told(configure, free_port, http):
    listen = f"127.0.0.1:{free_port()}"
    route = {"method": "POST", "path": "/events", "topic": "t", "ack": "queued"}
    servers = {"bootstrap.servers": f"127.0.0.1:{free_port()}"}
    file, _ = configure(kafka=servers, collector={"listen": listen, "routes": [route]})
    async with running(file) as process:

        async def taken():
            answer = await http.post(f"http://{listen}/events", content='[{"name":"홍길동"},{},{}]')
            return answer.status_code == 202

        await until(taken)
        process.send_signal(signal.SIGTERM)
        code, stderr = await ends(process, 10)
    assert code == 1
    assert "collector: 3 events that were answered as queued did not reach Kafka" in stderr


@pytest.mark.parametrize("option", ["collector.listen", "management.listen"])
async def test_a_taken_port_is_one_line_that_names_the_option(configure, free_port, option):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = f"127.0.0.1:{holder.getsockname()[1]}"
        parts = {"collector": {"listen": f"127.0.0.1:{free_port()}"}}
        section = option.partition(".")[0]
        file, _ = configure(**{**parts, section: {"listen": taken}})
        async with running(file) as process:
            code, stderr = await ends(process, 10)
    assert code == 2
    assert stderr == (
        f"kafkapipe: {option}: {taken} is taken by another program: stop that one, or choose another port\n"
    )


async def test_a_property_that_librdkafka_refuses_is_one_line(configure, tmp_path, cluster):
    kafka = {"bootstrap.servers": cluster.bootstrap, "session.timeout.ms": "soon"}
    file, _ = configure(kafka=kafka, pipelines={"a": to_files(tmp_path)})
    async with running(file) as process:
        code, stderr = await ends(process, 10)
    assert code == 2
    assert len(stderr.splitlines()) == 1
    assert "session.timeout.ms" in stderr


async def test_a_second_signal_ends_at_once(configure, cluster, http, tmp_path):
    """A NameNode that never answers keeps the drain waiting."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sink = {"type": "hdfs", "url": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        file, management = configure(pipelines={"a": {"topics": ["t"], "sink": sink}})
        async with running(file) as process:
            async with Producer(cluster.bootstrap) as producer:
                await producer.send("t", b"{}")
            await read_in(http, management, "a", 1)
            process.send_signal(signal.SIGTERM)
            while b"draining" not in await process.stderr.readline():
                pass
            process.send_signal(signal.SIGTERM)
            assert (await ends(process, 2))[0] == 1


def resident_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_two_idle_pipelines_stay_under_150_mb(configure, http, tmp_path, free_port):
    pipelines = {"a": to_files(tmp_path / "a", workers=3), "b": to_files(tmp_path / "b")}
    collector = {"listen": f"127.0.0.1:{free_port()}"}
    file, management = configure(pipelines=pipelines, collector=collector)
    async with running(file) as process:

        async def ready():
            return (await http.get(f"{management}/readyz")).status_code == 200

        await until(ready)
        assert resident_bytes(process.pid) < 150e6
        process.send_signal(signal.SIGTERM)
        assert (await ends(process, 10))[0] == 0
