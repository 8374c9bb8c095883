"""Finds what stands at a path: exact paths by one look-up, those with parameters by their number of parts."""

from typing import Generic, TypeVar

Place = TypeVar("Place")

_Pattern = list[bytes | None]  # None: a parameter


class Paths(Generic[Place]):
    """Places by the path patterns ``/api/select`` and ``/e/{site}``; an exact path goes before a pattern."""

    def __init__(self) -> None:
        self.exact: dict[bytes, Place] = {}
        self._patterns: dict[int, list[tuple[_Pattern, Place]]] = {}

    def at(self, pattern: str, place: Place) -> Place:
        """The place at this pattern, whatever its parameters are called; ``place`` when there is none yet."""
        if "{" not in pattern:
            return self.exact.setdefault(pattern.encode(), place)
        parts: _Pattern = [None if part.startswith("{") else part.encode() for part in _split(pattern)]
        alike = self._patterns.setdefault(len(parts), [])
        for known, found in alike:
            if known == parts:
                return found
        alike.append((parts, place))
        return place

    def find(self, path: bytes) -> tuple[Place | None, list[bytes]]:
        """What is there, and the parameters in their order; a parameter is never empty."""
        found = self.exact.get(path)
        if found is not None or not self._patterns:
            return found, []
        parts = path.split(b"/")[1:]
        for pattern, place in self._patterns.get(len(parts), ()):
            pairs = list(zip(pattern, parts, strict=True))
            if all(part if want is None else part == want for want, part in pairs):
                return place, [part for want, part in pairs if want is None]
        return None, []


def _split(pattern: str) -> list[str]:
    return pattern.split("/")[1:]
