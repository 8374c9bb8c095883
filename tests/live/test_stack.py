"""The local stack itself: real servers that start, are found again, hold their data, and end exactly."""

import asyncio
import json
import socket
import sys
import textwrap

import httpx
import pytest

from kafkapipe.errors import KafkaPipeError
from kafkapipe.stack import Stack, format_listing, hdfs_listing
from kafkapipe.stack.process import Child
from kafkapipe.stack.state import State

TEXT = '홍길동 "인용" 9007199254740993'
TOPIC_COMMAND = "org.apache.kafka.tools.TopicCommand"
PRODUCER = "org.apache.kafka.tools.ConsoleProducer"
CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"


async def cli(*args):
    """Run `kafkapipe stack ARGS`: exit code, stdout, stderr."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kafkapipe", "stack", *args, stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def child_of(folder, name):
    """The process that the state of a data folder names."""
    return State.load(folder).servers[name].child


async def java(stack, main, *args, stdin=None):
    result = await stack.run_java_tool(
        "kafka", main, "--bootstrap-server", stack.bootstrap, *args, stdin=stdin
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


async def write(stack, path, body, user="hadoop"):
    """Create a file over WebHDFS, as a client does: the NameNode says where, the DataNode takes the body."""
    async with httpx.AsyncClient(trust_env=False) as http:
        query = {"op": "CREATE", "user.name": user, "noredirect": "true"}
        answer = await http.put(f"{stack.webhdfs_url}/webhdfs/v1{path}", params=query)
        return await http.put(answer.json()["Location"], content=body)


async def test_every_server_is_up(stack):
    found = {process.name: process for process in await stack.processes()}
    assert list(found) == ["kafka-1", "namenode", "datanode", "search"]
    assert {process.state for process in found.values()} == {"ready"}
    assert all(process.memory > 50e6 for process in found.values())
    assert found["namenode"].address == stack.webhdfs_url


async def test_javas_own_tools_write_to_kafka_and_read_it(stack):
    lines = f"{TEXT}\n둘째 줄\n"
    await java(stack, TOPIC_COMMAND, "--create", "--topic", "stack-tools", "--partitions", "1")
    await java(stack, PRODUCER, "--topic", "stack-tools", stdin=lines.encode())
    limit = ("--from-beginning", "--max-messages", "2")
    assert await java(stack, CONSUMER, "--topic", "stack-tools", *limit) == lines


async def test_hadoop_may_write_to_data_and_the_listing_is_hadoops_own(stack):
    assert (await write(stack, "/data/한글 파일.log", TEXT.encode())).status_code == 201
    assert (await write(stack, "/user/hadoop/x", b"")).status_code == 201
    assert (await write(stack, "/user/other", b"")).status_code == 403
    shell = await stack.run_java_tool("hdfs", "org.apache.hadoop.fs.FsShell", "-ls", "-R", "/")
    listing = await hdfs_listing(stack.webhdfs_url, "/")
    assert [line.split() for line in shell.stdout.splitlines()] == [
        line.split() for line in format_listing(listing).splitlines()
    ]
    (file,) = [entry for entry in listing if entry.path == "/data/한글 파일.log"]
    assert (file.mode, file.owner, file.length) == ("-rw-r--r--", "hadoop", len(TEXT.encode()))


async def test_a_folder_that_is_not_there_is_said_so(stack):
    with pytest.raises(KafkaPipeError, match="HTTP 404 for /nothing: File /nothing does not exist"):
        await hdfs_listing(stack.webhdfs_url, "/nothing")


async def test_a_document_goes_into_the_index_and_comes_back(stack):
    async with httpx.AsyncClient(base_url=stack.search_url, trust_env=False) as http:
        document = {"userName": TEXT}
        await http.put("/stack-test/_doc/1", json=document, params={"refresh": "true"})
        answer = await http.get("/stack-test/_search")
    assert [hit["_source"] for hit in answer.json()["hits"]["hits"]] == [document]


async def test_a_killed_server_comes_back_with_its_data(stack):
    await write(stack, "/data/before.log", TEXT.encode())
    await stack.kill("datanode")
    assert {p.name: p.state for p in await stack.processes()}["datanode"] == "stopped"
    await stack.start_server("datanode")
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as http:
        url = f"{stack.webhdfs_url}/webhdfs/v1/data/before.log"
        answer = await http.get(url, params={"op": "OPEN", "user.name": "hadoop"})
    assert answer.content.decode() == TEXT


async def test_a_paused_server_is_seen_and_goes_on(stack):
    await stack.pause("search")
    assert {p.name: p.state for p in await stack.processes()}["search"] == "paused"
    await stack.resume("search")
    assert {p.name: p.state for p in await stack.processes()}["search"] == "ready"


async def test_up_stays_is_reused_keeps_data_and_is_wiped(tmp_path):
    folder = tmp_path / "데이터 1 😀"
    options = ("--only", "kafka", "--data", str(folder), "--json")
    code, out, _ = await cli("up", "--kafka-port", "0", *options)
    assert code == 0
    (first,) = json.loads(out)
    kafka = child_of(folder, "kafka-1")
    assert kafka.alive
    assert kafka.pid == first["pid"]

    async with Stack(only=["kafka"], kafka_port=0, data_dir=folder) as found:
        assert found.bootstrap == first["address"]
        await java(found, TOPIC_COMMAND, "--create", "--topic", "kept")
    assert kafka.alive, "a server that was found running is left running"

    code, out, _ = await cli("down", *options)
    assert (code, json.loads(out)) == (0, ["kafka-1"])
    assert not kafka.alive
    assert json.loads((await cli("status", *options))[1])[0]["state"] == "stopped"

    async with Stack(only=["kafka"], kafka_port=0, data_dir=folder) as again:
        assert "kept" in await java(again, TOPIC_COMMAND, "--list")
        kafka = child_of(folder, "kafka-1")
    assert not kafka.alive

    assert (await cli("wipe", *options))[0] == 0
    assert [path.name for path in (folder).iterdir()] == ["lock"]


OWNER = """
    import asyncio, sys
    from kafkapipe.stack import Stack

    async def main():
        async with Stack(only=["kafka"], kafka_port=0, data_dir=sys.argv[1]):
            print("up", flush=True)
            await asyncio.Event().wait()

    asyncio.run(main())
"""


async def test_servers_end_with_a_program_that_is_killed(tmp_path):
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(OWNER), str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout is not None
    assert await owner.stdout.readline() == b"up\n"
    kafka = child_of(tmp_path, "kafka-1")
    owner.kill()
    assert await kafka.gone(60)
    await owner.communicate()
    assert await Stack(data_dir=tmp_path).down() == []


async def test_what_a_killed_up_left_behind_is_ended_by_down(tmp_path):
    kafka = await killed_up(tmp_path)
    assert kafka.alive
    assert await Stack(data_dir=tmp_path).down() == ["kafka-1"]
    assert not kafka.alive


async def test_what_a_killed_up_left_behind_is_used_or_replaced_by_up(tmp_path):
    left = await killed_up(tmp_path)
    stack = Stack(only=["kafka"], kafka_port=0, data_dir=tmp_path)
    try:
        await stack.up()
        (process,) = await stack.processes()
        assert process.state == "ready"
        assert (process.pid == left.pid) == left.alive
    finally:
        await stack.down()
    assert not left.alive


async def killed_up(folder) -> Child:
    """Kill `kafkapipe stack up` as soon as it has started a server."""
    options = ("--only", "kafka", "--kafka-port", "0", "--data", str(folder))
    up = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kafkapipe", "stack", "up", *options, stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(120):
        while "kafka-1" not in State.load(folder).servers:  # noqa: ASYNC110 - another program's file
            await asyncio.sleep(0.02)
    up.kill()
    await up.wait()
    return child_of(folder, "kafka-1")


async def test_a_taken_port_is_one_line_and_nothing_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = await cli("up", "--kafka-port", str(port), "--data", str(tmp_path / "data"))
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert f"port {port} is taken and kafka-1 wants it" in err
    assert "--kafka-port" in err
    assert not (tmp_path / "data" / "state.json").exists()
    assert not (tmp_path / "data" / "logs").exists()


async def test_wrong_usage_exits_with_2():
    for args in (["up", "--brokers", "2"], ["up", "--only", "kafak"], ["up", "--kafka-port", "x"]):
        code, out, err = await cli(*args)
        assert (code, out, err.count("\n")) == (2, "", 1)


async def test_a_server_that_cannot_start_says_why_and_where_its_log_is(tmp_path):
    data = tmp_path / "kafka-1" / "data"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=another\n")
    with pytest.raises(KafkaPipeError) as caught:
        await Stack(only=["kafka"], kafka_port=0, data_dir=tmp_path).up()
    log = tmp_path / "logs" / "kafka-1.log"
    assert "kafka-1 ended while starting: " in caught.value.message
    assert "node" in caught.value.message
    assert f"(log: {log})" in caught.value.message
    assert "\n" not in caught.value.message
    assert State.load(tmp_path).servers == {}


async def test_an_interrupted_up_leaves_nothing_running(tmp_path):
    stack = Stack(only=["kafka"], kafka_port=0, data_dir=tmp_path)
    up = asyncio.create_task(stack.up())
    async with asyncio.timeout(120):
        while "kafka-1" not in State.load(tmp_path).servers:  # noqa: ASYNC110 - the file is what others see
            await asyncio.sleep(0.02)
    kafka = child_of(tmp_path, "kafka-1")
    up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await up
    assert not kafka.alive
    assert State.load(tmp_path).servers == {}


async def test_three_brokers_keep_three_copies(tmp_path):
    async with Stack(only=["kafka"], brokers=3, kafka_port=0, data_dir=tmp_path) as stack:
        assert stack.bootstrap.count(",") == 2
        await java(stack, TOPIC_COMMAND, "--create", "--topic", "three", "--partitions", "3")
        described = await java(stack, TOPIC_COMMAND, "--describe", "--topic", "three")
        assert "ReplicationFactor: 3\tConfigs: min.insync.replicas=2" in described
    with pytest.raises(KafkaPipeError, match="a cluster of 3 brokers, not 1"):
        await Stack(only=["kafka"], brokers=1, kafka_port=0, data_dir=tmp_path).up()
