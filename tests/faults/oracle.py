"""The oracle: what was sent, and whether each record is where it must be, exactly as often as it must.

Every record is known by (partition, sequence), which stands in its value. `Ledger` notes what was sent and
what was acked. `judge` then reads the topic, the files on HDFS, the index and the dead letters, each with a
reader that shares no code with the pipelines, and compares sets and multiplicities.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from kafkapipe import Producer
from kafkapipe.stack import Stack, hdfs_listing

Id = tuple[int, int]
"""Partition and sequence, as the producer of the test numbered them."""
ReadTopic = Callable[..., list[Any]]
_FILE = re.compile(r".*/(\d+)-(\d+)\.log(\.\d+)?")
_SHOWN = 12


def event(partition: int, sequence: int) -> bytes:
    """A record that every sink takes."""
    name = f'홍길동 "{sequence}"\nline two'
    fields = {"p": partition, "s": sequence, "userName": name, "big": 2**53 + 1}
    return json.dumps(fields, ensure_ascii=False).encode()


def poison(partition: int, sequence: int) -> bytes:
    """A record that a file takes and an index never will."""
    return f'{{"p": {partition}, "s": {sequence}, "독": 1e400, }}'.encode()


def is_poison(value: bytes) -> bool:
    """Whether Python's own parser refuses it, too."""
    try:
        return not isinstance(json.loads(value), dict)
    except ValueError:
        return True


@dataclass
class Ledger:
    """What a test sent to one topic, and what was acked."""

    topic: str
    partitions: int
    poison_every: int = 0
    sent: dict[Id, bytes] = field(default_factory=dict)
    acked: set[Id] = field(default_factory=set)

    def _next(self, count: int) -> Iterator[tuple[Id, bytes]]:
        for _ in range(count):
            number = len(self.sent)
            at = (number % self.partitions, number // self.partitions)
            is_bad = self.poison_every and number % self.poison_every == self.poison_every - 1
            self.sent[at] = poison(*at) if is_bad else event(*at)
            yield at, self.sent[at]

    async def send(self, producer: Producer, count: int) -> None:
        """Send the next ``count`` records and note which were acked."""
        ids, values = zip(*self._next(count), strict=True)
        keys = [f"키 {p}-{s}" for p, s in ids]
        result = await producer.send_many(self.topic, values, keys=keys, partitions=[p for p, _ in ids])
        failed = {index for index, _ in result.failed}
        self.acked |= {each for index, each in enumerate(ids) if index not in failed}

    async def flow(self, producer: Producer, rate: int) -> None:
        """Send ``rate`` records a second until cancelled."""
        while True:
            sending = asyncio.ensure_future(self.send(producer, max(1, rate // 20)))
            await asyncio.shield(sending)
            await asyncio.sleep(0.05)


@dataclass
class Verdict:
    """What the oracle found."""

    figures: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def compare(self, place: str, found: Counter[Any], wanted: Iterable[Any]) -> None:
        """Note what is missing in ``place``, what is there more than once, and what nobody sent."""
        want = Counter(wanted)
        lost = want - found
        doubled = Counter({key: number - 1 for key, number in found.items() if key in want and number > 1})
        unknown = [key for key in found if key not in want]
        self.figures[place] += found.total()
        self.figures[f"{place} lost"] += lost.total()
        self.figures[f"{place} doubled"] += doubled.total()
        for word, keys in (("lost", list(lost)), ("doubled", list(doubled)), ("unknown", unknown)):
            if keys:
                self.problems.append(f"{place}: {len(keys)} {word}: {keys[:_SHOWN]}")


@dataclass(frozen=True)
class Places:
    """Where one ledger's records are to be found; a part that a test has not is None."""

    stack: Stack
    read_topic: ReadTopic
    folder: str | None = None
    index: str | None = None
    dead_letters: str | None = None
    refused: Callable[[Any], bool] = lambda _: False
    """Documents that never come into the index, besides those that are no JSON objects."""

    def is_dead(self, value: bytes) -> bool:
        """Whether this value belongs into the dead letters."""
        return is_poison(value) or self.refused(json.loads(value))


async def files(url: str, folder: str) -> tuple[Counter[tuple[int, int, bytes]], list[str]]:
    """Lines of published files with the coordinates that the file's name gives them, and temporary files."""
    lines: Counter[tuple[int, int, bytes]] = Counter()
    entries = [each for each in await hdfs_listing(url, folder) if not each.is_folder]
    gate = asyncio.Semaphore(8)
    async with httpx.AsyncClient(timeout=60, trust_env=False, follow_redirects=True) as http:

        async def read(path: str) -> None:
            name = _FILE.fullmatch(path)
            assert name, path
            async with gate:
                answer = await http.get(f"{url}/webhdfs/v1{path}?op=OPEN&user.name=hadoop")
            assert answer.is_success, answer.text
            assert answer.content.endswith(b"\n"), path
            for number, line in enumerate(answer.content.removesuffix(b"\n").split(b"\n")):
                lines[int(name[1]), int(name[2]) + number, line] += 1

        await asyncio.gather(*(read(each.path) for each in entries if "/_tmp/" not in each.path))
    return lines, [each.path for each in entries if "/_tmp/" in each.path]


async def documents(url: str, index: str) -> dict[str, Any]:
    """Every document of an index, by its id."""
    found: dict[str, Any] = {}
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        await http.post(f"{url}/{index}/_refresh")
        answer = await http.post(f"{url}/{index}/_search?scroll=1m", json={"size": 5000})
        answer.raise_for_status()
        while hits := answer.json()["hits"]["hits"]:
            found |= {hit["_id"]: hit["_source"] for hit in hits}
            scroll = {"scroll": "1m", "scroll_id": answer.json()["_scroll_id"]}
            answer = await http.post(f"{url}/_search/scroll", json=scroll)
        await http.request("DELETE", f"{url}/_search/scroll", json={"scroll_id": answer.json()["_scroll_id"]})
    return found


async def judge(places: Places, ledger: Ledger) -> Verdict:
    """Compare what was sent with the topic, and the topic with the files, the index and the dead letters."""
    verdict = Verdict()
    stack, read = places.stack, places.read_topic
    records = await asyncio.to_thread(read, stack.bootstrap, ledger.topic, ledger.partitions)
    values = Counter((each.partition, each.value) for each in records)
    verdict.figures["sent"] = len(ledger.sent)
    verdict.compare("in the topic", values, ((at[0], ledger.sent[at]) for at in ledger.acked))
    if places.folder:
        lines, temporary = await files(stack.webhdfs_url, places.folder)
        wanted = ((r.partition, r.offset, r.value.replace(b"\n", b" ")) for r in records)
        verdict.compare("in HDFS", lines, wanted)
        verdict.problems += [f"temporary files are left: {temporary[:_SHOWN]}"] if temporary else []
    if places.index:
        await _judge_index(verdict, places, ledger, records)
    return verdict


async def _judge_index(verdict: Verdict, places: Places, ledger: Ledger, records: list[Any]) -> None:
    assert places.index
    found = await documents(places.stack.search_url, places.index)
    good = [each for each in records if not places.is_dead(each.value)]
    bad = [each for each in records if places.is_dead(each.value)]
    wanted = {f"{ledger.topic}+{r.partition}+{r.offset}": json.loads(r.value) for r in good}
    verdict.compare("in the index", Counter((d["p"], d["s"]) for d in found.values()),
                    ((d["p"], d["s"]) for d in wanted.values()))  # fmt: skip
    if found != wanted:
        wrong = [key for key in wanted if found.get(key) != wanted[key]]
        verdict.problems.append(f"index: {len(wrong)} documents are not their record: {wrong[:_SHOWN]}")
    if places.dead_letters:
        letters = await asyncio.to_thread(places.read_topic, places.stack.bootstrap, places.dead_letters)
        unique = Counter({(each.key, each.value): 1 for each in letters})
        verdict.compare("dead letters", unique, ((each.key, each.value) for each in bad))
        verdict.figures["dead letters repeated"] = len(letters) - len(unique)
