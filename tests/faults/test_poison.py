"""R10: every value that a producer can think of. What is JSON is in a file, byte for byte; what is an object
is in the index; the dead letters have the rest: each record in one of the two, for either sink.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import kafkapipe as kp
from tests.faults.lanes import Lane, World
from tests.faults.oracle import documents, files

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

VECTORS = Path(__file__).parents[1] / "c" / "json_vectors.h"
MIB = 1 << 20
LARGEST = {"message.max.bytes": str(13 * MIB), "fetch.message.max.bytes": str(13 * MIB)}
_ENTRY = re.compile(r'\{(true|false), "([^"]*)", BYTES\("(.*)"\)\}')
_ESCAPE = re.compile(rb'\\([0-7]{1,3}|x[0-9a-fA-F]{2}|[nrtbf"\\?])')
_LETTERS = {
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"b": b"\b",
    b"f": b"\f",
    b'"': b'"',
    b"\\": b"\\",
    b"?": b"?",
}


def unescaped(text: str) -> bytes:
    """The bytes of a C string literal."""

    def one(found: re.Match[bytes]) -> bytes:
        letter = found[1]
        if letter in _LETTERS:
            return _LETTERS[letter]
        return bytes([int(letter[1:], 16) if letter[:1] == b"x" else int(letter, 8)])

    return _ESCAPE.sub(one, text.replace('" "', "").encode())


def vectors() -> Iterator[tuple[str, bytes, bool]]:
    """The public suite: name, text, and whether it is valid."""
    for valid, name, text in _ENTRY.findall(VECTORS.read_text()):
        yield name, unescaped(text), valid == "true"


def corpus() -> Iterator[tuple[str, bytes | None, bool]]:
    """Name, value, and whether it is valid JSON."""
    for name, text, valid in vectors():
        yield name, text, valid
        yield (
            f"in an object: {name}",
            b'{"v":%b,"big":9007199254740993}' % text if valid else b'{"a":%b,}' % text,
            valid,
        )
    yield "null", None, False
    yield "empty", b"", False
    yield "1 MiB", b'{"v":"%b"}' % (b"x" * MIB), True
    # Elasticsearch counts such a document five times over, and has 10 % of its heap of 512 MiB for that
    yield "10 MB", '{{"v":"{}"}}'.format("가" * (10_000_000 // 3)).encode(), True
    yield "10 MiB, no JSON", b"{" * (10 * MIB), False
    yield "100,000 arrays", b"[" * 100_000 + b"]" * 100_000, False
    yield "100,000 arrays in an object", b'{"v":' + b"[" * 100_000 + b"]" * 100_000 + b"}", False
    yield "NUL", b'{"v":"\0"}', False
    yield "NUL behind it", b'{"v":1}\0', False
    yield "BOM", b'\xef\xbb\xbf{"v":1}', False
    yield "lone surrogate", b'{"v":"\\ud800"}', False
    yield "lone surrogate in bytes", b'{"v":"\xed\xa0\x80"}', False
    yield "raw newline in a string", b'{"v":"a\nb"}', False
    yield "raw newlines between tokens", b'\n{\n"v"\n:\r\n1\n}\n', True
    yield "a forged action", b'{"v":1}\n{"delete":{"_id":"0"}}', False
    yield "1e400", b'{"v":1e400}', True
    yield "a name with a quote and a newline", '{"홍길동 \\"\\n": 9007199254740993}'.encode(), True


def is_object(value: bytes | None, valid: bool) -> bool:
    """Whether the index must be offered it."""
    return valid and value is not None and value.lstrip(b" \t\r\n")[:1] == b"{"


async def prepare(world: World, lane: Lane) -> None:
    """Topics that take 13 MiB, and an index that keeps documents as they are."""
    limit = {"max.message.bytes": str(13 * MIB)}
    async with kp.Admin(world.stack.bootstrap) as admin:
        for topic in (lane.name, f"{lane.name}-dlq", f"{lane.name}-files-dlq"):
            await admin.create_topic(topic, partitions=1, config=limit, timeout=120)
    mapping = {"mappings": {"dynamic": False}}
    (await world.http.put(f"{world.stack.search_url}/{lane.name}", json=mapping)).raise_for_status()


def letters(world: World, topic: str) -> dict[str, bytes | None]:
    """Dead letters by their keys, which are the records' names; one that came again is the same."""
    found = world.read_topic(world.stack.bootstrap, topic)
    assert len({each.key for each in found}) == len({(each.key, each.value) for each in found})
    return {each.key.decode(): each.value for each in found}


async def test_every_value_has_one_place(world: World) -> None:
    rotate = {"records": 40, "age": "1s"}
    lane = world.lane("poison", kafka=LARGEST, partitions=1, rotate=rotate, format="json")
    await prepare(world, lane)
    named = {f"{number} {name}": (value, valid) for number, (name, value, valid) in enumerate(corpus())}
    assert len(named) > 500
    async with kp.Producer(world.stack.bootstrap, message_max_bytes=13 * MIB) as producer:
        values = [value for value, _ in named.values()]
        result = await producer.send_many(lane.name, values, keys=list(named))
        assert result.delivered == len(named)
    await lane.finish(world.http)

    lines, temporary = await files(world.stack.webhdfs_url, f"/data/{lane.name}")
    assert temporary == []
    in_files = Counter(line for _, _, line in lines.elements())
    assert in_files == Counter(
        (value or b"").replace(b"\n", b" ") for value, valid in named.values() if valid
    )
    assert letters(world, f"{lane.name}-files-dlq") == {
        n: value for n, (value, valid) in named.items() if not valid
    }

    dead = letters(world, f"{lane.name}-dlq")
    indexed = {int(key.rpartition("+")[2]) for key in await documents(world.stack.search_url, lane.name)}
    offered = {name for name, entry in named.items() if is_object(*entry)}
    for offset, (name, (value, _)) in enumerate(named.items()):
        assert (name in dead) != (offset in indexed), f"{name} is in both places, or in none"
        assert name in offered or name in dead, f"{name} must not be indexed"
        assert dead.get(name, value) == value, f"the dead letter of {name} is not its bytes"
    world.note(
        values=len(named), indexed=len(indexed), dead=len(dead), refused_by_server=len(offered & dead.keys())
    )
