"""The metrics page: counters of the process as Prometheus samples, read when somebody asks."""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .spool import Spool
from .stats import LATENCY_BOUNDS, CollectorStats

PIPELINE_STATES = ("starting", "running", "paused", "draining", "failed", "stopped")

# key of the snapshot, which is the metric's name, too, and help
_COUNTERS = [
    ("records_in", "Records read from Kafka"),
    ("records_out", "Records that the sink has"),
    ("bytes_in", "Bytes of keys and values read from Kafka"),
    ("bytes_out", "Bytes of keys and values that the sink has"),
    ("retries", "Records given to the sink again"),
    ("rejected", "Records that the sink will never take"),
    ("dead_letters", "Records in the dead-letter topic"),
    ("errors", "Errors seen"),
]
# metric, key of the snapshot, help
_GAUGES = [
    ("lag_records", "lag", "Records in the topics that the sink does not have yet"),
    ("in_flight_bytes", "in_flight_bytes", "Bytes read and not yet settled"),
]


class Source(Protocol):
    """Where the numbers come from."""

    def pipelines(self) -> Mapping[str, Mapping[str, Any]]:
        """``Pipeline.snapshot()`` of each pipeline, by name."""

    def collector_stats(self) -> CollectorStats | None:
        """The collector's counters; None when no collector runs."""

    def spool(self) -> Spool | None:
        """The collector's spool; None when it has none."""


def registry(source: Source) -> CollectorRegistry:
    """A registry of its own with all metrics of ``source`` and of the process (memory, CPU, open files)."""
    result = CollectorRegistry()
    ProcessCollector(registry=result)
    result.register(_Metrics(source))
    return result


class _Metrics(Collector):
    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterable[Metric]:
        yield from _pipelines(self._source.pipelines())
        stats = self._source.collector_stats()
        if stats is not None:
            yield from _collector(stats)
        spool = self._source.spool()
        if spool is not None:
            yield from _spool(spool)


def _pipelines(snapshots: Mapping[str, Mapping[str, Any]]) -> Iterable[Metric]:
    for key, text in _COUNTERS:
        counter = CounterMetricFamily(f"kafkapipe_pipeline_{key}", text, labels=["pipeline"])
        for pipeline, snapshot in snapshots.items():
            counter.add_metric([pipeline], snapshot[key])
        yield counter
    for name, key, text in _GAUGES:
        gauge = GaugeMetricFamily(f"kafkapipe_pipeline_{name}", text, labels=["pipeline"])
        for pipeline, snapshot in snapshots.items():
            if snapshot[key] is not None:
                gauge.add_metric([pipeline], snapshot[key])
        yield gauge
    state = GaugeMetricFamily(
        "kafkapipe_pipeline_state", "1 for the state that the pipeline is in", labels=["pipeline", "state"]
    )
    for pipeline, snapshot in snapshots.items():
        for each in PIPELINE_STATES:
            state.add_metric([pipeline, each], float(snapshot["state"] == each))
    yield state


def _collector(stats: CollectorStats) -> Iterable[Metric]:
    requests = CounterMetricFamily(
        "kafkapipe_collector_requests", "Requests answered", labels=["path", "status"]
    )
    for (path, status), count in stats.requests.items():
        requests.add_metric([path, str(status)], count)
    yield requests
    refusals = CounterMetricFamily("kafkapipe_collector_refusals", "Requests refused", labels=["error"])
    for error, count in stats.refusals.items():
        refusals.add_metric([error], count)
    yield refusals
    yield CounterMetricFamily(
        "kafkapipe_collector_events_accepted", "Events answered as taken", value=stats.events_accepted
    )
    yield CounterMetricFamily(
        "kafkapipe_collector_events_lost",
        "Events taken with ack: queued that Kafka then did not take",
        value=stats.events_lost,
    )
    names = [*map(str, LATENCY_BOUNDS), "+Inf"]
    yield HistogramMetricFamily(
        "kafkapipe_collector_request_seconds",
        "Time from a request's headers to its answer",
        buckets=list(zip(names, accumulate(stats.latency_counts), strict=True)),
        sum_value=stats.latency_sum,
    )


def _spool(spool: Spool) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "kafkapipe_spool_events", "Events on disk that wait for Kafka", value=spool.events
    )
    yield GaugeMetricFamily("kafkapipe_spool_bytes", "Bytes of these events", value=spool.bytes)
    yield GaugeMetricFamily(
        "kafkapipe_spool_oldest_seconds", "How long the first of them has waited", value=spool.age
    )
    yield CounterMetricFamily("kafkapipe_spool_written", "Events that went to the disk", value=spool.written)
