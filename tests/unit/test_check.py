"""`kafkapipe check` on servers that are not there, on this machine's ports and folders."""

import json
import os
import socket

import pytest
from click.testing import CliRunner

from kafkapipe.check import check
from kafkapipe.cli import main
from kafkapipe.config import loads


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr("kafkapipe.check.TIMEOUT_SECONDS", 1.0)


@pytest.fixture
def closed_port():
    """A port on which nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def files_in(folder):
    sink = {"type": "file", "path": f"{folder}/{{partition}}-{{offset}}"}
    return json.dumps({"pipelines": {"a": {"topics": ["t"], "sink": sink}}}, ensure_ascii=False)


async def outcome(text):
    return {item.name: (item.ok, item.detail, item.advice) for item in await check(loads(text))}


async def test_servers_that_are_not_there(closed_port):
    found = await outcome(
        f"""
kafka: {{bootstrap.servers: "127.0.0.1:{closed_port}"}}
pipelines:
  a: {{topics: [t], sink: {{type: hdfs, url: "http://127.0.0.1:{closed_port}"}}}}
  b: {{topics: [t], sink: {{type: elasticsearch, url: "http://127.0.0.1:{closed_port}"}}}}
management: {{listen: "127.0.0.1:0"}}
"""
    )
    kafka = found.pop(f"kafka 127.0.0.1:{closed_port}")
    hdfs = found.pop(f"pipelines.a.sink http://127.0.0.1:{closed_port}")
    search = found.pop(f"pipelines.b.sink http://127.0.0.1:{closed_port}")
    assert found == {"management.listen 127.0.0.1:0": (True, "is free", "")}
    assert (kafka[0], hdfs[0], search[0]) == (False, False, False)
    assert "kafkapipe stack up --only kafka" in kafka[2]
    assert hdfs[1].startswith("no answer: ")
    assert "kafkapipe stack up --only hdfs" in hdfs[2]
    assert search[1].startswith("no answer: ")
    assert "kafkapipe stack up --only search" in search[2]


async def test_a_server_that_is_something_else(http_server):
    """The colour page itself, taken for HDFS and for Elasticsearch."""
    found = await outcome(
        f"""
kafka: {{bootstrap.servers: "127.0.0.1:1"}}
pipelines:
  a: {{topics: [t], sink: {{type: hdfs, url: "{http_server}"}}}}
  b: {{topics: [t], sink: {{type: elasticsearch, url: "{http_server}"}}}}
"""
    )
    ok, _, advice = found[f"pipelines.a.sink {http_server}"]
    assert (ok, advice) == (False, "is url a NameNode's WebHDFS, or HttpFS?")
    ok, _, advice = found[f"pipelines.b.sink {http_server}"]
    assert (ok, advice) == (False, "is url an Elasticsearch or OpenSearch node?")


@pytest.fixture
async def http_server():
    """A server that answers 200 with HTML to everything."""
    from kafkapipe.web.server import Server  # noqa: PLC0415

    async def page(scope, receive, send):
        headers = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"<html>It works!</html>"})

    server = Server(page, "127.0.0.1:0", option="test")
    await server.start()
    yield server.url
    await server.close()


async def test_a_taken_port_names_the_option(taken_port):
    found = await outcome(f'collector: {{listen: "127.0.0.1:{taken_port}"}}\nkafka: {{}}')
    assert found[f"collector.listen 127.0.0.1:{taken_port}"] == (
        False,
        "is taken by another program",
        "stop that one, or choose another port",
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    text = files_in(f"{tmp_path}/x")
    found = await outcome(text)
    assert found[f"pipelines.a.sink {tmp_path}/x"][0] is False


async def test_a_folder_that_will_be_made(tmp_path):
    text = files_in(f"{tmp_path}/색")
    found = await outcome(text)
    assert found[f"pipelines.a.sink {tmp_path}/색"] == (True, f"{tmp_path} can be written", "")


async def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "x").write_text("")
    text = files_in(f"{tmp_path}/x")
    assert (await outcome(text))[f"pipelines.a.sink {tmp_path}/x"][0] is False


def test_the_command_says_what_to_do_and_exits_1(tmp_path, closed_port):
    file = tmp_path / "c.yaml"
    file.write_text(
        "pipelines: {a: {topics: [t], sink: {type: null}}}\nmanagement: {listen: '127.0.0.1:0'}\n"
    )
    result = CliRunner().invoke(main, ["check", str(file), "--bootstrap", f"127.0.0.1:{closed_port}"])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == f"ok      {file}: valid"
    assert lines[1].startswith(f"failed  kafka 127.0.0.1:{closed_port}: ")
    assert lines[2].startswith("        -> start it (on this machine: kafkapipe stack up --only kafka)")
    assert lines[3] == "ok      management.listen 127.0.0.1:0: is free"
    result = CliRunner().invoke(
        main, ["check", "--json", str(file), "--bootstrap", f"127.0.0.1:{closed_port}"]
    )
    document = json.loads(result.stdout)
    assert (result.exit_code, document["ok"]) == (1, False)
    assert [item["ok"] for item in document["items"]] == [False, True]
