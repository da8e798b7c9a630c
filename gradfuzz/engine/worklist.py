"""Names to look at, each once, in order of position."""

from __future__ import annotations

import heapq


class Worklist:
    """A priority queue without duplicates. sign 1.0: smallest position first; -1.0: largest first."""

    def __init__(self, sign: float) -> None:
        self._sign = sign
        self._heap: list[tuple[float, str]] = []
        self._seen: set[str] = set()

    def push(self, position: float, name: str) -> None:
        if name not in self._seen:
            self._seen.add(name)
            heapq.heappush(self._heap, (self._sign * position, name))

    def pop(self) -> str:
        return heapq.heappop(self._heap)[1]

    def __bool__(self) -> bool:
        return bool(self._heap)
