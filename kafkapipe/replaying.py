"""Replay: a bounded range of a pipeline's topics through it once more, beside the pipeline that runs."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _ranges
from ._bounds import Bound
from ._ranges import Range
from ._template import nearest
from .admin import Admin
from .config import Config, Elasticsearch, File, Hdfs, Null, PipelineConfig, load_sink
from .errors import ConfigError
from .pipeline import DRAIN_SECONDS, Pipeline

Sink = Hdfs | File | Elasticsearch | Null

_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class ReplayProgress:
    """How far a replay is."""

    done: int
    """Offsets that are delivered or passed over, of all runs of this replay."""
    total: int
    """Offsets in its range: the most records there can be."""
    state: str
    """The pipeline's: running, paused, ..."""
    reason: str | None
    """Why it waits, in words."""


@dataclass(frozen=True)
class ReplayResult:
    """What a replay did."""

    pipeline: str
    sink: str
    """Where the records went, in words."""
    group: str
    """The group that its offsets belong to; the pipeline's own was not touched."""
    begun_ms: int
    """When it was begun, in ms since 1970: in names of files as ``.replay-DATE-TIME``."""
    finished: bool
    """False: it was interrupted; the same call goes on where it stopped."""
    partitions: tuple[Range, ...]
    """What was asked for, in offsets."""
    read: int
    """Records that this call read of those; one that a rebalance made it read again counts again."""
    delivered: int
    """Into the sink, where each is once whatever a rebalance did."""
    rejected: int
    """Records that can never be delivered; they went the way of the pipeline's ``dead_letter``."""

    @property
    def nothing_to_do(self) -> bool:
        """Whether the range is empty, or was replayed before."""
        return self.finished and self.read == 0


async def replay(
    config: Config,
    pipeline: str,
    *,
    start: Bound,
    end: Bound,
    partitions: Iterable[int] | None = None,
    sink: str | None = None,
    again: bool = False,
    on_progress: Callable[[ReplayProgress], None] | None = None,
) -> ReplayResult:
    """Send the records of a range of the pipeline's topics through it once more, into its sink.

        result = await kp.replay(load("color.yaml"), "color-to-hdfs", start="-1h", end="latest")

    ``start`` (inclusive) and ``end`` (exclusive) are those of ``kp.read``. They are settled when the replay
    begins and kept in Kafka: the same call goes on after an interruption, and does not replay a record that
    it has replayed; ``again`` begins anew. It has a consumer group of its own: several processes may share
    the work, and the offsets of the running pipeline never move.

    ``sink`` is the name of another pipeline of the configuration, or a file that holds a sink. Documents have
    the ids of the first time, so they are there once. Files are new files, with ``.replay-DATE-TIME`` before
    the ending of their names, unless the sink comes from a file.

    Cancelling it drains and leaves the rest to the next call. Raises ConfigError for arguments that cannot
    be, RejectedError for topics that are not there, FatalError with the reason when the pipeline fails, as
    at a record that can never be delivered.
    """
    numbers = None if partitions is None else sorted(set(partitions))
    chosen = _pipeline(config, pipeline)
    target = _sink(config, chosen, sink)
    kafka = {**config.kafka, **chosen.kafka}
    target_name = getattr(target, "path", None) or _index(target)
    words = (str(start), str(end), numbers, sink, target.type, target_name)
    base = _ranges.base_name(chosen.group or pipeline, "replay", *words)
    async with Admin(config=kafka) as admin:
        topics = await _ranges.expand_topics(admin, chosen.topics)
        run = None if again else await _ranges.find(admin, base, topics)
        committed = await run.committed(admin) if run else {}
        if run is None or not run.left(committed):
            found = await asyncio.to_thread(_ranges.resolve, topics, start, end, numbers, kafka)
            run = run.with_ranges(found) if run else _ranges.begin(base, found)
            committed = await run.committed(admin)
        if run.left(committed):
            await run.save(admin)
    marked = _marked(target, run.mark) if sink is None or sink in config.pipelines else target
    finished, seen = True, dict[str, Any](records_in=0, records_out=0, rejected=0)
    if run.left(committed):
        whole = {**dict(chosen), "topics": topics, "group": run.group, "start": "earliest", "sink": marked}
        bounded = PipelineConfig.model_validate(whole)
        finished, seen = await run_bounded(pipeline, bounded, config.kafka, run.ranges, on_progress)
    return ReplayResult(
        pipeline, describe_sink(marked), run.group, run.begun_ms, finished, run.ranges,
        seen["records_in"], seen["records_out"], seen["rejected"],
    )  # fmt: skip


def _pipeline(config: Config, name: str) -> PipelineConfig:
    if name not in config.pipelines:
        known = nearest(name, config.pipelines)
        raise ConfigError(f'replay: the configuration has no pipeline "{name}"{known}', op="replay")
    return config.pipelines[name]


def _sink(config: Config, chosen: PipelineConfig, sink: str | None) -> Sink:
    if sink is None:
        return chosen.sink
    if sink in config.pipelines:
        return config.pipelines[sink].sink
    if not Path(sink).is_file():
        raise ConfigError(
            f'replay: sink "{sink}" is neither a pipeline of the configuration nor a file'
            f"{nearest(sink, config.pipelines)}",
            op="replay",
        )
    return load_sink(sink)


def _index(sink: Sink) -> str | None:
    return sink.index if isinstance(sink, Elasticsearch) else None


def _marked(sink: Sink, mark: str) -> Sink:
    """Files of a replay are told from those of the pipeline, and are found and removed together."""
    return sink.marked(f"replay-{mark}") if isinstance(sink, Hdfs | File) else sink


def describe_sink(sink: Sink) -> str:
    """What a sink is, in a few words."""
    return f"{sink.type} {getattr(sink, 'path', None) or _index(sink) or ''}".strip()


async def run_bounded(
    name: str,
    config: PipelineConfig,
    kafka: Mapping[str, str],
    ranges: Iterable[Range],
    on_progress: Callable[[ReplayProgress], None] | None,
    *,
    redrive: bool = False,
) -> tuple[bool, dict[str, Any]]:
    """Run a pipeline over these ranges: whether it came to their ends, and its last snapshot.

    Cancelling drains it; it came to no end then.
    """
    parts = tuple(ranges)
    pipeline = Pipeline.from_config(name, config, kafka, parts, redrive=redrive)
    await pipeline.start()
    drained = asyncio.create_task(pipeline.drained())
    try:
        while not drained.done():
            await asyncio.wait([drained], timeout=_LOOK_SECONDS)
            if on_progress:
                on_progress(_progress(parts, pipeline.snapshot()))
        drained.result()
    except asyncio.CancelledError:
        drained.cancel()
        await pipeline.stop(DRAIN_SECONDS)
        return False, pipeline.snapshot()
    finally:
        await pipeline.stop(DRAIN_SECONDS)
    return True, pipeline.snapshot()


def _progress(ranges: tuple[Range, ...], seen: dict[str, Any]) -> ReplayProgress:
    at = {(part[0], part[1]): part[3] for worker in seen["workers"] for part in worker["assignment"]}
    done = sum(
        min(max(at.get((each.topic, each.partition), each.start) - each.start, 0), each.end - each.start)
        for each in ranges
    )
    return ReplayProgress(done, sum(each.end - each.start for each in ranges), seen["state"], seen["reason"])
