"""What is still to do of one campaign, and whose fault it was when a worker died."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping

from gradfuzz.campaign.calls import Dead, Died

TARGET = 1.0
"""Seconds of work that one call should hold: long against sending it, short against losing it."""
FIRST = 2
"""Mutants in a call while nobody knows how long they take."""
BELIEVED = 2
"""Deaths until one is believed. The last was alone, in a fresh process."""
Position = int


class Queue:
    """Positions of a plan. Those that were in a call whose worker died come first, so that a culprit is known early."""

    def __init__(self, positions: Iterable[Position]) -> None:
        self._todo = deque(positions)
        self._again: deque[tuple[Position, ...]] = deque()
        self._deaths: Counter[Position] = Counter()
        self._dead: dict[Position, tuple[Dead, ...]] = {}

    def __len__(self) -> int:
        return len(self._todo) + sum(map(len, self._again))

    def take(self, longest: int, sharers: int, mean: float) -> tuple[Position, ...]:
        """Some positions for one call. longest: how many at most. sharers: workers among which the rest is divided. mean: seconds each."""
        if self._again:
            return self._again.popleft()
        count = min(int(TARGET / mean) if mean else FIRST, longest, math.ceil(len(self._todo) / (2 * sharers)))
        return tuple(self._todo.popleft() for _ in range(max(count, 1)))

    def put_back(self, positions: tuple[Position, ...]) -> None:
        if positions:
            self._again.appendleft(positions)

    def dead(self, positions: Iterable[Position]) -> Mapping[Position, tuple[Dead, ...]]:
        """What is believed of some positions, so that it is not tried again."""
        return {position: self._dead[position] for position in positions if position in self._dead}

    def died(self, positions: tuple[Position, ...], died: Died, detectors: tuple[str, ...]) -> tuple[Position, Dead] | None:
        """Queue again what a dead worker had. Whoever was at work is tried once more, alone; where none is known, each half is.

        Returns a position and what is believed of it from now on, if that is so.
        """
        if died.place is None and len(positions) > 1:
            half = len(positions) // 2
            self.put_back(positions[half:])
            self.put_back(positions[:half])
            return None
        place = died.place or 0
        culprit = positions[place]
        self._deaths[culprit] += 1
        believed = None
        if len(positions) == 1 and self._deaths[culprit] >= BELIEVED:
            detector = detectors[died.detector] if died.detector >= 0 else ""
            believed = culprit, Dead(died.reason, died.text, detector)
            self._dead[culprit] = (*self._dead.get(culprit, ()), believed[1])
            del self._deaths[culprit]  # another detector may do the same
        for some in (positions[place + 1 :], positions[:place], (culprit,)):
            self.put_back(some)
        return believed
