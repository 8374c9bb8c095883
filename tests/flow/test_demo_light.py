"""`kafkapipe demo --light`: the whole way without Java, with and without --once."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys

import httpx

from kafkapipe import demo

READ = 'kafkapipe_pipeline_records_in_total{pipeline="color-to-hdfs"} 1.0'


async def until_read(http, metrics):
    while True:
        if READ in (await http.get(metrics)).text:
            return
        await asyncio.sleep(0.05)


async def start(*arguments, env=None):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kafkapipe", "demo", "--light", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=env,
    )  # fmt: skip


async def test_once_sends_and_finds_every_event():
    process = await start("--once", "--json")
    stdout, stderr = await asyncio.wait_for(process.communicate(), 120)
    report = json.loads(stdout)
    assert (process.returncode, report["problems"]) == (0, []), stderr.decode()
    assert report["events"] >= 60
    assert report["lines"] == report["events"]
    assert report["documents"] is None
    assert "no Elasticsearch" in stderr.decode()
    assert report["stages"]["in all"] >= report["stages"]["until all are in files"] > 0


async def test_it_stays_until_it_is_interrupted(tmp_path):
    process = await start("--free-ports", env={**os.environ, "TMPDIR": str(tmp_path)})
    shown = {}
    try:
        async with asyncio.timeout(60):
            while "metrics" not in shown:
                line = (await process.stdout.readline()).decode()
                assert line, await process.stderr.read()
                name, _, value = line.strip().rpartition("  ")
                shown[name.strip()] = value.strip()
            async with httpx.AsyncClient(trust_env=False) as http:
                page = await http.get(shown["the page, in a browser"])
                assert 'id="user_name"' in page.text
                url = shown["the page, in a browser"] + "api/select"
                answer = await http.get(url, params={"color": "blue", "user": "홍길동"})
                assert (answer.status_code, answer.content) == (200, b"")
                await until_read(http, shown["metrics"])
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    published = [path.read_text() for path in tmp_path.rglob("color-*-0.log")]
    assert [json.loads(text)["userName"] for text in published] == ["홍길동"]


async def test_a_taken_port_is_told_before_anything_starts():
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # taken by somebody else is as good
            holder.bind(("127.0.0.1", 8083))
            holder.listen()
        process = await start()
        _, stderr = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert "is taken by another program: stop what listens there, or" in stderr.decode()
    assert "kafkapipe demo --free-ports" in stderr.decode()
    assert len(stderr.decode().splitlines()) == 1


async def test_an_event_that_never_arrives_is_named(tmp_path, monkeypatch):
    lost = demo.posted_events()[-1]
    monkeypatch.setattr(demo, "bodies", lambda: [b"\n".join(demo.posted_events()[:-1])])
    monkeypatch.setattr(demo, "ARRIVAL_SECONDS", 8.0)
    report = demo.Report()
    async with demo.light_servers(tmp_path) as servers:
        await demo.run_once(servers, report)
    assert not report.complete
    assert report.problems == [
        f"after 8 s {report.events - 1} of {report.events} events are in files",
        f"{demo._event(lost)} was sent 1 times and arrived 0 times",
        f"this did not arrive byte for byte: {lost!r}",
    ]
