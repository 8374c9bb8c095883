"""The description of a JVM that is to be started."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Launch:
    """How a JVM is started, but for the class path and the options that all share."""

    main: str
    args: Sequence[str] = ()
    options: Sequence[str] = ()
    heap_mb: int = 96
    env: dict[str, str] = field(default_factory=dict)
