"""Where workers run: in this process, in processes of this machine (Pebble), or on a cluster (Ray). The same calls, the same replies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from gradfuzz.campaign.calls import Call, Limits, Reply
from gradfuzz.campaign.settings import Execution

SHARE = 0.9
"""Of the machine's memory, for all workers together."""


class Slot(Protocol):
    """One worker, which does one call at a time and is started again whenever it ended. longest: mutants in one call."""

    longest: int

    def submit(self, call: Call, limit: float) -> Future[Reply]:
        """limit: seconds after which the worker is ended from outside. The future raises ``GradfuzzError`` or gives ``Died`` or a reply."""
        ...

    def close(self) -> None:
        """End the worker now, whatever it is doing."""
        ...


def open_slots(execution: Execution, stack: ExitStack) -> list[Slot]:
    """As many workers as asked for. They end with the stack."""
    if execution.executor == "ray":
        from gradfuzz.executors.cluster import open_cluster

        return open_cluster(execution, stack)
    from gradfuzz.executors.local import InProcess, PebbleSlot

    limits = limits_of(execution, execution.workers)
    slots: list[Slot] = [PebbleSlot(limits) for _ in range(execution.workers)] if execution.isolated else [InProcess(limits)]
    stack.callback(close_all, slots)
    return slots


def close_all(slots: Sequence[Slot]) -> None:
    """All at once, since each may take a while to die."""
    with ThreadPoolExecutor(len(slots)) as threads:
        list(threads.map(lambda slot: slot.close(), slots))


def limits_of(execution: Execution, workers: int) -> Limits:
    """workers: how many there are on this machine."""
    memory = execution.memory_limit * 2**30 if execution.memory_limit else SHARE * machine_memory() / workers
    return Limits(execution.time_limit, int(memory), workers)


def machine_memory() -> int:
    """Bytes that this process and its children may use together."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container
    text = limit.read_text("ascii").strip() if limit.exists() else "max"
    return min(physical, int(text)) if text.isdigit() else physical


__all__ = ["Slot", "close_all", "limits_of", "machine_memory", "open_slots"]
