"""The collector's counters: plain numbers, bumped on the event loop, read by the metrics page."""

from bisect import bisect_left
from dataclasses import dataclass, field

LATENCY_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency buckets, in seconds; one more bucket has no bound."""


@dataclass(slots=True)
class CollectorStats:
    """Counts since the start."""

    requests: dict[tuple[str, int], int] = field(default_factory=dict)
    """By path of the route (empty for paths that no route has) and HTTP status."""
    refusals: dict[str, int] = field(default_factory=dict)
    """By the ``error`` phrase of the answer."""
    events_accepted: int = 0
    """Events that were answered as taken."""
    events_lost: int = 0
    """Events that were taken with ``ack: queued`` and that Kafka then did not take."""
    latency_counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS) + 1))
    """Requests in each bucket of LATENCY_BOUNDS, not cumulated."""
    latency_sum: float = 0.0
    """Seconds in all requests together."""

    def count(self, path: str, status: int, seconds: float) -> None:
        """One request was answered."""
        key = (path, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        self.latency_counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        self.latency_sum += seconds

    def refuse(self, error: str) -> None:
        """One request was refused with this phrase."""
        self.refusals[error] = self.refusals.get(error, 0) + 1
