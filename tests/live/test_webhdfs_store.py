"""The C store against a real NameNode and DataNode, driven line by line through tests/c/live_webhdfs.c."""

import asyncio
import hashlib
import json
import socket
import subprocess
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest

ROOT = Path(__file__).parents[2]
NAME = '홍길동 "인용"\n줄 100%25+b'
MEBIBYTE = 1 << 20


@pytest.fixture(scope="session")
def program():
    """The driver, built under ASan and UBSan."""

    lock = ROOT / "build" / "live.lock"
    lock.parent.mkdir(exist_ok=True)
    command = ("flock", str(lock), "make", "-s", "-C", str(ROOT / "tests" / "c"), "live-webhdfs")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]


class Driver:
    """One store in a process of its own; a call is one operation."""

    def __init__(self, process):
        self.process = process

    async def __call__(self, op, path, **arguments):
        command = json.dumps({"op": op, "path": path, **arguments}, ensure_ascii=False)
        self.process.stdin.write(command.encode() + b"\n")
        line = await self.process.stdout.readline()
        assert line, "the driver ended"
        return json.loads(line)

    async def outcome(self, op, path, **arguments):
        return (await self(op, path, **arguments))["outcome"]


@pytest.fixture
async def drive(program, stack):
    """``await drive(url, ...)``: a Driver for these NameNodes; its end without a leak is part of the test."""
    drivers = []

    async def begin(*urls):
        config = json.dumps({"urls": urls or [stack.webhdfs_url], "user": "hadoop"})
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            program, config, stdin=pipe, stdout=pipe, limit=MEBIBYTE
        )
        drivers.append(process)
        return Driver(process)

    yield begin
    for process in drivers:
        process.stdin.close()
        assert await process.wait() == 0


@pytest.fixture
async def store(drive):
    return await drive()


async def content(stack, path):
    """What a file holds, read without the code under test."""
    async with httpx.AsyncClient(trust_env=False, follow_redirects=True, timeout=60) as http:
        url = f"{stack.webhdfs_url}/webhdfs/v1{quote(path)}?op=OPEN&user.name=hadoop"
        answer = await http.get(url)
    answer.raise_for_status()
    return answer.content


def alphabet(length):
    letters = bytes(range(ord("a"), ord("z") + 1))
    return (letters * (length // 26 + 1))[:length]


async def safe_mode(stack, verb):
    result = await stack.run_java_tool("hdfs", "org.apache.hadoop.hdfs.tools.DFSAdmin", "-safemode", verb)
    assert result.returncode == 0, result.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_a_file_is_written_renamed_listed_read_and_removed(stack, store):
    temp, final = f"/data/store/_tmp/{NAME}", f"/data/store/2026/길/{NAME}.log"
    text = "한 줄 9007199254740993\n"
    written = await store("put", temp, text=text)
    assert (written["outcome"], written["length"]) == ("done", len(text.encode()))
    assert (await store("list", "/data/store/_tmp/"))["names"] == [NAME]
    assert await store.outcome("rename", temp, to=final) == "done"
    assert (await store("list", "/data/store/_tmp"))["names"] == []
    assert (await content(stack, final)).decode() == text
    assert (await store("read", final))["content"] == text
    assert (await store("status", "/data/store/2026"))["folder"] is True
    assert await store.outcome("remove", final) == "done"
    for op in ("remove", "status", "read", "list"):
        assert await store.outcome(op, final) == "missing"


async def test_a_rename_replaces_nothing_and_loses_nothing(stack, store):
    await store("put", "/data/keep/temp", text="new")
    await store("put", "/data/keep/taken", text="old")
    await store("put", "/data/keep/folder/inside", text="x")
    assert await store.outcome("rename", "/data/keep/temp", to="/data/keep/taken") == "exists"
    assert await store.outcome("rename", "/data/keep/temp", to="/data/keep/folder") == "exists"
    assert await store.outcome("rename", "/data/keep/none", to="/data/keep/x") == "missing"
    assert (await store("list", "/data/keep/folder"))["names"] == ["inside"]
    assert await content(stack, "/data/keep/taken") == b"old"
    assert await store.outcome("rename", "/data/keep/temp", to="/data/keep/new/final") == "done"
    assert await store.outcome("rename", "/data/keep/temp", to="/data/keep/new/final") == "exists"
    assert await content(stack, "/data/keep/new/final") == b"new"


async def test_names_that_hdfs_never_takes_are_rejected(store):
    for name in ("a:b", "n" * 256):
        answer = await store("put", f"/data/{name}", text="x")
        assert (answer["outcome"], answer["status"]) == ("failed", "reject"), answer


async def test_without_permission_it_says_so_and_heals(stack, store):
    answer = await store("put", "/user/other/x", text="x")
    assert (answer["status"], answer["code"]) == ("retry", "AccessControlException")
    assert "Permission denied: user=hadoop" in answer["message"]
    assert "\tat " not in answer["message"]
    shell = "org.apache.hadoop.fs.FsShell"
    assert (await stack.run_java_tool("hdfs", shell, "-mkdir", "-p", "/user/other")).returncode == 0
    assert (await stack.run_java_tool("hdfs", shell, "-chmod", "777", "/user/other")).returncode == 0
    assert await store.outcome("put", "/user/other/x", text="x") == "done"


async def test_a_body_of_32_mebibytes_arrives_whole(stack, store):
    size = 32 * MEBIBYTE
    written = await store("put", "/data/big", length=size)
    assert (written["outcome"], written["length"]) == ("done", size)
    found = hashlib.sha256(await content(stack, "/data/big"))
    assert found.digest() == hashlib.sha256(alphabet(size)).digest()


async def test_pieces_become_one_file(stack, store):
    """The NameNode joins them, whatever their size: more than one request can name, and a second time too."""
    temp, final = f"/data/pieces/_tmp/{NAME}+{'n' * 150}", "/data/pieces/large.log"
    starts = [0, 1, 5, *range(1005, 1005 + 40 * 52, 52)]
    length = starts[-1] + 26
    for start, end in zip(starts, [*starts[1:], length], strict=True):
        written = await store("piece", temp, start=start, length=end - start)
        assert (written["outcome"], written["length"]) == ("done", end - start)
    for _ in range(2):
        assert await store.outcome("join", temp, starts=starts, length=length) == "done"
    assert len((await store("list", "/data/pieces/_tmp"))["names"]) == 1
    assert await store.outcome("rename", temp, to=final) == "done"
    wanted = b"".join(alphabet(end - start) for start, end in zip(starts, [*starts[1:], length], strict=True))
    assert await content(stack, final) == wanted
    await store("piece", temp, start=0, length=26)
    assert await store.outcome("join", temp, starts=[0, 26], length=52) == "missing"


async def test_safe_mode_is_waited_out(stack, store):
    await store("put", "/data/safe/temp", text="x")
    await safe_mode(stack, "enter")
    try:
        answers = [
            await store("put", "/data/safe/other", text="x"),
            await store("rename", "/data/safe/temp", to="/data/safe/final"),
            await store("remove", "/data/safe/temp"),
        ]
    finally:
        await safe_mode(stack, "leave")
    for answer in answers:
        assert (answer["outcome"], answer["status"]) == ("failed", "retry")
        assert "Name node is in safe mode." in answer["message"]
        assert "\n" not in answer["message"]
    assert await store.outcome("rename", "/data/safe/temp", to="/data/safe/final") == "done"
    assert await content(stack, "/data/safe/final") == b"x"


async def test_the_next_namenode_is_asked_when_the_first_is_gone(stack, drive):
    store = await drive(f"http://127.0.0.1:{free_port()}", stack.webhdfs_url)
    assert await store.outcome("put", "/data/second", text="x") == "done"
    nobody = await drive(f"http://127.0.0.1:{free_port()}")
    answer = await nobody("status", "/data/second")
    assert (answer["status"], answer["code"]) == ("retry", "ECONNREFUSED")


def bytes_on_their_way(port):
    """Whether a connection to this port has bytes that were sent and not yet taken."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, state, queues = line.split()[:5]
        if state == "01" and int(remote.split(":")[1], 16) == port and int(queues.split(":")[0], 16):
            return True
    return False


async def test_a_datanode_killed_in_the_middle_of_an_upload(stack, store):
    size = 128 * MEBIBYTE
    (address,) = [each.address for each in await stack.processes() if each.name == "datanode"]
    upload = asyncio.create_task(store("put", "/data/cut", length=size))
    async with asyncio.timeout(30):
        while not bytes_on_their_way(urlsplit(address).port):  # noqa: ASYNC110 - the kernel's table
            await asyncio.sleep(0.001)
    await stack.kill("datanode")
    cut = await upload
    try:
        assert (cut["outcome"], cut["status"]) == ("failed", "retry"), cut
        refused = await store("put", "/data/cut", length=size)
        assert (refused["status"], refused["code"]) == ("retry", "ECONNREFUSED")
        assert (await store("status", "/data/cut"))["length"] < size
    finally:
        await stack.start_server("datanode")
    written = await store("put", "/data/cut", length=size)
    assert (written["outcome"], written["length"]) == ("done", size)
    found = hashlib.sha256(await content(stack, "/data/cut"))
    assert found.digest() == hashlib.sha256(alphabet(size)).digest()
    assert await store.outcome("remove", "/data/cut") == "done"
