"""Workers on this machine: the coordinating process itself, or one Pebble pool of one spawned process for each."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gradfuzz.campaign.calls import Call, Died, Limits, Reply
from gradfuzz.executors.guard import Page, post_mortem

_NEVER_BEGAN = Died("lost", "the process ended before it began", None)


class InProcess:
    """No process of its own, so no protection: what a mutant does to the process happens to the campaign."""

    longest = 1  # so that an interruption loses nothing

    def __init__(self, limits: Limits) -> None:
        from gradfuzz.campaign.worker import Worker

        self._worker = Worker(limits)

    def submit(self, call: Call, limit: float) -> Future[Reply]:
        done: Future[Reply] = Future()
        try:
            done.set_result(self._worker.answer(call))
        except Exception as error:
            done.set_exception(error)
        return done

    def close(self) -> None: ...


class PebbleSlot:
    """One spawned process. A pool of one each, so that calls about one subject go to the worker that has it.

    After a death the pool is thrown away with its pipes: a process that was killed while it wrote leaves half a message and a held lock.
    """

    longest = 64

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool: Any = None
        self._folder = Path()
        self._page: Page | None = None
        self._died = False

    def submit(self, call: Call, limit: float) -> Future[Reply]:
        if self._died or (self._pool is not None and not self._pool.active):
            self.close()
        if self._pool is None:
            self._open()
        answered: Future[Reply] = Future()
        try:
            with _interrupts_held():  # the first call starts the process, which inherits that: Ctrl-C is the parent's business
                given = self._pool.schedule(_answer, args=(call,), timeout=limit)
        except RuntimeError:  # the idle worker was killed just now
            self._died = True
            answered.set_result(_NEVER_BEGAN)
        else:
            given.add_done_callback(lambda given: self._translate(given, answered))
        return answered

    def _open(self) -> None:
        from pebble import ProcessPool

        self._folder = Path(tempfile.mkdtemp(prefix="gradfuzz-"))
        self._page = Page(self._folder / "page", create=True)
        context: Any = multiprocessing.get_context("spawn")
        self._died = False
        self._pool = ProcessPool(1, initializer=_begin, initargs=(self._folder, self._limits), context=context)

    def _translate(self, given: Future[Reply], answered: Future[Reply]) -> None:
        """In a thread of the pool. The slot is used again only after ``answered`` is set."""
        from pebble import ProcessExpired

        assert self._page is not None
        try:
            reply = given.result()
        except (ProcessExpired, TimeoutError) as error:
            self._died = True
            reply = post_mortem(self._folder, self._page, error.exitcode if isinstance(error, ProcessExpired) else None)
            self._page.write(0, -1, -1, 0)  # that number may soon be another process's
        except (BrokenProcessPool, CancelledError):
            self._died = True
            reply = _NEVER_BEGAN
        except BaseException as error:
            answered.set_exception(error)
            return
        answered.set_result(reply)

    def close(self) -> None:
        if self._pool is None:
            return
        assert self._page is not None
        end_child(self._page.read()[0])  # a worker may be deaf to anything less
        self._pool.stop()
        self._pool.join()
        self._pool = None
        self._page.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def end_child(pid: int) -> None:
    """kill -9, if that number still is a child of this process: numbers of the dead are given to others. 0: nobody."""
    if not pid:
        return
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """SIGINT waits until the block is over."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- in the spawned process

_worker: Any = None


def _begin(folder: Path, limits: Limits) -> None:
    """torch is imported with the first call: a process that is started only to be ended costs little."""
    global _worker  # noqa: PLW0603
    from gradfuzz.campaign.worker import Worker
    from gradfuzz.executors.guard import ProcessGuard

    os.dup2(2, 1)  # what a model prints does not mix with what the command prints for programs
    _worker = Worker(limits, ProcessGuard(folder, limits.memory))


def _answer(call: Call) -> Reply:
    reply: Reply = _worker.answer(call)
    return reply
