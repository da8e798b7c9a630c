"""Workers: the same tables whoever measures, and one bad mutant costs one mutant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_campaign import SETTINGS, Counts, assert_same_tables

from gradfuzz import campaign, executors
from gradfuzz.campaign import Execution, Settings, Silent
from gradfuzz.campaign.calls import Call, Died, Limits, Measure, Prepare, Reply
from gradfuzz.campaign.progress import Row
from gradfuzz.campaign.queue import BELIEVED, Queue
from gradfuzz.errors import BadInput, GradfuzzError, Refused
from gradfuzz.executors.guard import Page, post_mortem
from gradfuzz.executors.local import InProcess, PebbleSlot, end_child
from gradfuzz.store import Tables, load

NASTY = str(Path(__file__).parent / "nasty.py")
TWO = Execution(jobs=2)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """A campaign that was measured in this process."""
    return campaign.run(SETTINGS, tmp_path_factory.mktemp("one") / "campaign")


# --- who is to blame


@given(st.integers(1, 40), st.sets(st.integers(0, 39)), st.booleans(), st.integers(1, 16), st.integers(1, 4))
def test_every_culprit_is_found_and_nobody_else_is_blamed(count: int, culprits: set[int], known: bool, longest: int, sharers: int) -> None:
    """known: whether a dead worker left behind what it was at; if not, halving finds it."""
    queue, believed, done = Queue(range(count)), set[int](), list[int]()
    while len(queue):
        positions = queue.take(longest, sharers, mean=0.01)
        assert 1 <= len(positions) <= longest
        guilty = next((place for place, one in enumerate(positions) if one in culprits and not queue.dead([one])), None)
        if guilty is None:
            done += positions
        else:
            found = queue.died(positions, Died("crashed", "killed", guilty if known else None), ())
            believed |= {found[0]} if found else set()
    assert sorted(done) == list(range(count)), "each once, whatever died"
    assert believed == {one for one in culprits if one < count}


def test_a_death_is_believed_only_when_it_happens_again_alone() -> None:
    queue = Queue(range(4))
    assert queue.take(64, 1, mean=0.1) == (0, 1)
    assert queue.died((0, 1), Died("timeout", "late", 1), ()) is None
    assert queue.take(64, 1, mean=0.1) == (1,)
    believed = queue.died((1,), Died("timeout", "late", 0), ())
    assert believed is not None
    assert believed[1].status == "timeout"
    assert BELIEVED == 2


def test_a_detector_is_blamed_for_what_it_did_and_the_mutant_is_not() -> None:
    queue = Queue([7])
    for _ in range(BELIEVED):
        believed = queue.died(queue.take(1, 1, 0.0), Died("crashed", "gone", 0, detector=1), ("grad-none", "third-party"))
    assert believed is not None
    assert (believed[0], believed[1].detector) == (7, "third-party")
    assert queue.take(1, 1, 0.0) == (7,), "its truth is still to be measured"


def test_calls_are_long_enough_to_pay_and_short_enough_to_lose() -> None:
    assert len(Queue(range(1000)).take(64, 2, mean=0.1)) == 10
    assert len(Queue(range(1000)).take(64, 2, mean=1e-6)) == 64
    assert len(Queue(range(1000)).take(64, 2, mean=50.0)) == 1
    assert len(Queue(range(8)).take(64, 2, mean=1e-6)) == 2, "the end is shared out among the workers"


# --- a worker that dies in other ways, in this process


class Haunted(InProcess):
    """A real worker, whose answers to some calls are lost."""

    longest = 8

    def __init__(self, dies: Callable[[Call], Died | None]) -> None:
        super().__init__(Limits())
        self.dies = dies

    def submit(self, call: Call, limit: float) -> Future[Reply]:
        died = self.dies(call)
        if died is None:
            return super().submit(call, limit)
        lost: Future[Reply] = Future()
        lost.set_result(died)
        return lost


@pytest.fixture
def haunt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def install(*several: Callable[[Call], Died | None]) -> None:
        def opened(execution: Execution, stack: ExitStack) -> Sequence[Any]:
            return [Haunted(dies) for dies in several]

        monkeypatch.setattr(executors, "open_slots", opened)

    return install


def test_a_subject_that_kills_the_worker_that_traces_it_is_refused(haunt: Any, tmp_path: Path) -> None:
    haunt(lambda call: Died("memory", "more memory than the limit", -1))
    with pytest.raises(Refused, match="corpus:mlp cannot be traced: more memory than the limit, twice"):
        campaign.run(SETTINGS, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_workers_that_vanish_are_replaced_and_nobody_is_blamed(haunt: Any, tables: Tables, tmp_path: Path) -> None:
    seen: list[Call] = []

    def every_third(call: Call) -> Died | None:
        seen.append(call)
        return Died("lost", "the node is gone") if len(seen) % 3 == 0 else None

    haunt(every_third, every_third)
    assert_same_tables(campaign.run(SETTINGS, tmp_path), tables)


def test_workers_that_never_do_anything_end_the_campaign_with_a_reason(haunt: Any, tmp_path: Path) -> None:
    haunt(lambda call: Died("lost", "the process ended before it began"))
    with pytest.raises(GradfuzzError, match="5 workers in a row ended before they did anything"):
        campaign.run(SETTINGS, tmp_path)


def test_where_nothing_is_known_of_a_crash_halving_finds_the_culprit(haunt: Any, tables: Tables, tmp_path: Path) -> None:
    def kills(call: Call) -> Died | None:
        return Died("crashed", "ended by SIGKILL") if isinstance(call, Measure) and 11 in call.positions and 11 not in call.dead else None

    haunt(kills)
    found = campaign.run(SETTINGS, tmp_path).mutants
    assert found.index[found.status != "ok"].tolist() == [11]
    row = found.loc[11]
    assert (row.status, row.error, row.effect, row.signature) == ("crashed", "ended by SIGKILL", "", "")
    rest = found.drop(index=11).drop(columns="seconds")
    assert rest.equals(tables.mutants.drop(index=11).drop(columns="seconds"))


def test_workers_that_see_another_plan_are_noticed(haunt: Any, tmp_path: Path) -> None:
    class Other(Haunted):
        def submit(self, call: Call, limit: float) -> Future[Reply]:
            return super().submit(replace(call, digest="other") if isinstance(call, Measure) else call, limit)

    haunt()
    slots = [Other(lambda call: None)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors, "open_slots", lambda execution, stack: slots)
        with pytest.raises(BadInput, match="the workers do not agree on the plan of corpus:mlp"):
            campaign.run(SETTINGS, tmp_path)


# --- real processes


def test_two_workers_give_the_tables_of_one(tables: Tables, tmp_path: Path) -> None:
    seen = Counts()
    assert_same_tables(campaign.run(SETTINGS, tmp_path, execution=TWO, progress=seen), tables)
    assert seen.measured == len(tables.mutants)
    assert tables.manifest["hardware"]["threads"] == 1


@pytest.mark.slow
def test_each_nasty_mutant_costs_itself_and_no_other(tmp_path: Path) -> None:
    operators = ("freeze-parameter", "nasty-segfault", "nasty-loop-in-c", "nasty-memory", "nasty-mistake")
    settings = Settings("corpus:mlp", operators=operators, detectors=("grad-none", "nasty-leaves"), plugins=(NASTY,))
    found = campaign.run(settings, tmp_path / "two", execution=Execution(jobs=2, time_limit=5.0, memory_limit=2.0))
    status = found.mutants.set_index("mutant").status
    assert status[status != "ok"].to_dict() == {
        "corpus:mlp::nasty-segfault::m1": "crashed",
        "corpus:mlp::nasty-loop-in-c::m1": "timeout",
        "corpus:mlp::nasty-memory::m1": "memory",
        "corpus:mlp::nasty-mistake::m1": "crashed",
    }
    errors = found.mutants.set_index("mutant").error
    assert errors["corpus:mlp::nasty-segfault::m1"] == "the process was ended by SIGSEGV"
    assert errors["corpus:mlp::nasty-mistake::m1"] == "ZeroDivisionError: a plugin's own mistake"
    assert not found.mutants.silent[found.mutants.status != "ok"].any()
    verdicts = found.verdicts[found.verdicts.status == "error"]
    assert verdicts[["mutant", "detector"]].to_numpy().tolist() == [["corpus:mlp::freeze-parameter::0.weight", "nasty-leaves"]]
    assert verdicts.message.item() == "the process ended itself with status 5"
    assert not verdicts.flagged.any()
    assert status["corpus:mlp::freeze-parameter::0.weight"] == "ok", "what a detector does is not the mutant's fault"
    assert found.manifest["failed"] == {"memory limit": 1, "time limit": 1}


class KillsWorkers(Silent):
    """kill -9 of every worker after the first rows."""

    def __init__(self, slots: list[PebbleSlot]) -> None:
        self.slots, self.killed = slots, 0

    def advance(self, mutant: Row, verdicts: Sequence[Row]) -> None:
        if not self.killed:
            pids = [slot._page.read()[0] for slot in self.slots if slot._page]
            for pid in filter(None, pids):
                os.kill(pid, signal.SIGKILL)
                self.killed += 1


def test_workers_killed_in_the_middle_lose_nothing(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    real = executors.open_slots

    def noted(execution: Execution, stack: ExitStack) -> list[Any]:
        opened.extend(real(execution, stack))
        return opened

    monkeypatch.setattr(executors, "open_slots", noted)
    killer = KillsWorkers(opened)
    assert_same_tables(campaign.run(SETTINGS, tmp_path, execution=TWO, progress=killer), tables)
    assert killer.killed


NOWHERE = Prepare(Settings("corpus:no-such-model"))


def test_after_kill_9_of_the_parent_its_workers_end_and_leave_no_folder_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gradfuzz", "run", "--model", "corpus:transformer", "--jobs", "2", "--out", str(tmp_path / "out")]
    (tmp_path / "scratch").mkdir()
    running = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path / "scratch")}, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(list((tmp_path / "scratch").glob("gradfuzz-*/timeout"))) == 2)
    finally:
        running.kill()
        running.wait()
    wait_until(lambda: not list((tmp_path / "scratch").glob("gradfuzz-*")))


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_an_idle_worker_that_is_killed_is_replaced() -> None:
    slot = PebbleSlot(Limits())
    try:
        with pytest.raises(BadInput, match="corpus has no model 'no-such-model'"):
            slot.submit(NOWHERE, 600.0).result()
        assert slot._page is not None
        os.kill(slot._page.read()[0], signal.SIGKILL)
        second = slot.submit(NOWHERE, 600.0)
        assert second.exception() or second.result() == Died("lost", "the process ended before it began")
        with pytest.raises(BadInput, match="corpus has no model 'no-such-model'"):
            slot.submit(NOWHERE, 600.0).result()
    finally:
        slot.close()


def test_a_worker_that_never_answers_is_ended_from_outside() -> None:
    slot = PebbleSlot(Limits())
    try:
        reply = slot.submit(NOWHERE, 0.01).result()
    finally:
        slot.close()
    assert isinstance(reply, Died)
    assert reply.reason == "timeout"


def test_what_a_worker_refuses_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no operator or family 'no-such-operator'"):
        campaign.run(Settings("corpus:mlp", operators=("no-such-operator",)), tmp_path / "out", execution=TWO)
    assert not (tmp_path / "out").exists()


# --- Ray

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'gradfuzz[ray]'")


def actors() -> Iterator[int]:
    """Process ids of the actors on this machine, by the title that Ray gives them."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::Place"):
                yield int(entry.name)


class KillsActors(Silent):
    """kill -9 of every actor after the first rows, as when their machines are gone."""

    killed = 0

    def advance(self, mutant: Row, verdicts: Sequence[Row]) -> None:
        if not self.killed:
            for pid in list(actors()):
                os.kill(pid, signal.SIGKILL)
                self.killed += 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")  # Ray's own
def test_a_ray_cluster_whose_actors_are_killed_gives_the_tables_of_one_process(tables: Tables, tmp_path: Path) -> None:
    killer = KillsActors()
    found = campaign.run(SETTINGS, tmp_path, execution=Execution(jobs=2, executor="ray"), progress=killer)
    assert killer.killed
    assert_same_tables(found, tables)
    assert load(tmp_path).manifest["status"] == "complete"


@pytest.mark.parametrize(
    "wrong",
    [{"jobs": 0}, {"time_limit": 0.0}, {"memory_limit": -1.0}, {"time_budget": 0.0}, {"gpus_per_worker": -1.0}, {"executor": "cloud"}],
    ids=str,
)
def test_an_execution_without_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=str(next(iter(wrong.values())))):
        Execution(**wrong)


# --- what ended a worker


@pytest.mark.parametrize(
    ("exitcode", "memory", "timed_out", "reason", "text"),
    [
        (-11, 0, False, "crashed", "the process was ended by SIGSEGV"),
        (-9, 0, False, "crashed", "the process was ended by SIGKILL"),
        (3, 0, False, "crashed", "the process ended itself with status 3"),
        (1, 0, True, "timeout", "no result within the time limit"),
        (None, 0, False, "timeout", "no result within the time limit"),
        (77, 1, False, "memory", "more memory than the limit"),
    ],
)
def test_a_dead_worker_leaves_behind_what_ended_it_and_what_it_was_at(
    tmp_path: Path, exitcode: int | None, memory: int, timed_out: bool, reason: str, text: str
) -> None:
    page = Page(tmp_path / "page", create=True)
    Page(tmp_path / "page").write(1234, 5, 2, memory)  # what the other side wrote
    (tmp_path / "timeout").write_text("Timeout (0:00:05)!\n" if timed_out else "")
    assert post_mortem(tmp_path, page, exitcode) == Died(reason, text, 5, 2)


def test_only_a_child_of_ones_own_is_ended() -> None:
    end_child(0)
    end_child(os.getppid())  # this test would not see the next line
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    end_child(child.pid)
    assert child.wait() == -signal.SIGKILL
    end_child(child.pid)
    assert child.stdin is not None
    child.stdin.close()


def test_the_machine_is_shared_out_among_the_workers() -> None:
    one, four = (executors.limits_of(Execution(jobs=jobs), jobs) for jobs in (1, 4))
    assert one.memory is not None
    assert four.memory == pytest.approx(one.memory / 4, abs=4)
    assert executors.limits_of(Execution(jobs=4, memory_limit=2.0, time_limit=9.0), 4) == Limits(9.0, 2 * 2**30, 4)
