"""Inside a worker: ends it when a mutant takes too long or too much, and keeps on a small shared page what it was doing.

Time runs out in a thread of C (``faulthandler``), which needs no GIL, so that a loop in C or Python is ended alike; memory and the life
of the coordinating process are looked at by a thread some times a second. Both end the whole process, since nothing less stops code that
may do anything. The page is a file that both sides map, so that it outlives the worker whatever ended it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import shutil
import signal
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradfuzz.campaign.calls import Died

EVERY = 0.05  # seconds between two looks at the memory
FIELDS = struct.Struct("qqqq")  # pid, place, detector, whether memory ran out
OUT_OF_MEMORY = 77
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


class Page:
    """pid of the worker, which mutant of the call it is at, which detector, and whether memory ended it."""

    def __init__(self, path: Path, create: bool = False) -> None:
        if create:
            path.write_bytes(FIELDS.pack(0, -1, -1, 0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), FIELDS.size)

    def read(self) -> tuple[int, int, int, int]:
        return FIELDS.unpack(self._map[: FIELDS.size])

    def write(self, pid: int, place: int, detector: int, memory: int) -> None:
        FIELDS.pack_into(self._map, 0, pid, place, detector, memory)

    def close(self) -> None:
        self._map.close()


def keep_freed_memory() -> None:
    """Let glibc use freed memory again, whatever its size. It would return every large tensor to the system, which hands it out again one
    zeroed page after the other: half the time of a mutant of vgg11_bn, whose gradients take 500 MB. Nothing where there is no glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**26)):
            mallopt(option, value)


class ProcessGuard:
    """Lives in the worker. folder: where the page is, and where what ran when time was up is written."""

    def __init__(self, folder: Path, memory: int | None) -> None:
        self._folder, self._page = folder, Page(folder / "page")
        self._trace = (folder / "timeout").open("w", encoding="utf-8")
        keep_freed_memory()
        self._memory, self._parent, self._pid = memory, os.getppid(), os.getpid()
        self.mark(-1)
        threading.Thread(target=self._watch, name="gradfuzz-guard", daemon=True).start()

    def mark(self, place: int, detector: int = -1) -> None:
        self._page.write(self._pid, place, detector, 0)

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._trace)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        while True:
            if os.getppid() != self._parent:  # killed, so that nobody else clears up
                shutil.rmtree(self._folder, ignore_errors=True)
                os._exit(1)
            if self._memory is not None and resident() > self._memory:
                _, place, detector, _ = self._page.read()
                self._page.write(self._pid, place, detector, 1)
                os._exit(OUT_OF_MEMORY)
            time.sleep(EVERY)


def resident() -> int:
    """Bytes of memory that this process holds, or 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return 0


def post_mortem(folder: Path, page: Page, exitcode: int | None) -> Died:
    """What ended a worker and what it was at. exitcode: as of ``multiprocessing``, None if it was ended for want of an answer."""
    _, place, detector, memory = page.read()
    trace = folder / "timeout"
    if memory:
        return Died("memory", "more memory than the limit", place, detector)
    if exitcode is None or (trace.is_file() and trace.stat().st_size):
        return Died("timeout", "no result within the time limit", place, detector)
    if exitcode < 0:
        name = signal.Signals(-exitcode).name if -exitcode in set(signal.Signals) else str(-exitcode)
        return Died("crashed", f"the process was ended by {name}", place, detector)
    return Died("crashed", f"the process ended itself with status {exitcode}", place, detector)
