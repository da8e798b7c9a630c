"""The coordinating process: it hands out mutants, writes what comes back, and is the only one that writes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradfuzz.campaign.calls import Call, Measured, Reply
from gradfuzz.campaign.progress import Progress, Silent
from gradfuzz.campaign.settings import Execution, Settings
from gradfuzz.campaign.state import ENDED, Campaign
from gradfuzz.errors import BadInput, DamagedStore, GradfuzzError
from gradfuzz.store import Tables, load

if TYPE_CHECKING:
    from gradfuzz.executors import Slot


@dataclass(frozen=True)
class Outcome:
    """state: ``complete``, ``stopped`` for want of time, or ``failed`` with the error."""

    model: str
    folder: Path
    state: str
    error: GradfuzzError | None = None


def run(
    settings: Settings,
    out: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
    execution: Execution | None = None,
) -> Tables:
    """Run a campaign into a folder, or finish one that was interrupted there, or read one that is done.

    Raises ``BadInput``, ``Refused`` or ``DamagedStore``, each with one line. Whatever was finished before is kept.
    """
    (outcome,) = run_all([(settings, out)], resume=resume, progress=progress, command=command, execution=execution)
    if outcome.error:
        raise outcome.error
    if outcome.state == "stopped" and not (out / "manifest.json").exists():
        raise BadInput(f"the time budget was spent before {outcome.model} was traced: give more")
    return load(out)


def run_all(
    orders: Sequence[tuple[Settings, Path]],
    *,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
    execution: Execution | None = None,
) -> list[Outcome]:
    """Several campaigns, each into a folder of its own, over the same workers. One that is refused does not stop the others.

    Raises ``BadInput`` before any work where a name or a folder will not do, and ``DamagedStore`` where a folder cannot be written any
    more.
    """
    execution, progress = execution or Execution(), progress or Silent()
    campaigns = [_campaign(settings, out, execution, command, progress) for settings, out in orders]
    for one in campaigns:
        one.check(resume)
    open_ones = [one for one in campaigns if one.state == "waiting"]
    if open_ones:
        from gradfuzz.executors import open_slots

        with ExitStack() as stack:
            for one in open_ones:
                stack.callback(one.close)
            _Floor(open_ones, open_slots(execution, stack), execution.time_budget).work()
    return [Outcome(one.subject.name, one.out, one.state, one.error) for one in campaigns]


def _campaign(settings: Settings, out: Path, execution: Execution, command: str, progress: Progress) -> Campaign:
    """Plugins are the workers' business: here they are imported, and torch with them, only where the subject may come from one of them."""
    try:
        return Campaign(settings, out, execution, command, progress)
    except BadInput:
        if not settings.plugins:
            raise
    from gradfuzz.campaign.worker import import_plugins

    import_plugins(settings.plugins)
    return Campaign(settings, out, execution, command, progress)


def now() -> float:
    """Seconds on the clock by which time budgets are kept."""
    return time.monotonic()


class _Floor:
    """Workers and campaigns. A worker stays with the subject that it has traced for as long as there is something to do for it."""

    def __init__(self, campaigns: list[Campaign], slots: list[Slot], budget: float | None) -> None:
        self._campaigns, self._idle = campaigns, list(slots)
        self._workers = len(slots)
        self._deadline = now() + budget if budget is not None else None
        self._home: dict[int, Campaign] = {}
        self._busy: dict[Future[Reply], tuple[Slot, Campaign, Call, float]] = {}

    def work(self) -> None:
        while self._hand_out() or self._busy:
            for future in wait(self._busy, return_when=FIRST_COMPLETED).done:
                self._receive(future)
        for one in self._campaigns:
            if one.state not in ENDED:
                one.stop()

    def _out_of_time(self) -> bool:
        return self._deadline is not None and now() >= self._deadline

    def _hand_out(self) -> bool:
        """Give every idle worker something to do. Whether any got it."""
        given = False
        for slot in list(self._idle):
            for campaign in self._wanted(slot):
                sharers = max(1, self._workers - sum(one.state in ("waiting", "preparing") for one in self._campaigns))
                call = campaign.next_call(slot.longest, sharers, self._out_of_time())
                if call is not None:
                    self._idle.remove(slot)
                    self._home[id(slot)] = campaign
                    begun = now()
                    self._busy[slot.submit(call, campaign.limit(call))] = (slot, campaign, call, begun)
                    given = True
                    break
        return given

    def _wanted(self, slot: Slot) -> list[Campaign]:
        """Campaigns in the order in which a worker should serve them: its own, those that nobody has begun, those with most left to do."""
        home = self._home.get(id(slot))
        alive = [one for one in self._campaigns if one.state in ("waiting", "preparing", "measuring")]
        fresh = [one for one in alive if one.state == "waiting"]
        spent = [one for one in alive if one.spent >= one.allowance and fresh]  # its share of a time budget
        own = [home] if home in alive and home not in spent and home.state == "measuring" else []
        rest = (one for one in alive if one not in (*fresh, *own) and (one is home or one.worth_tracing()))
        others = sorted(rest, key=lambda one: -one.waiting * one.mean)
        return [*own, *fresh, *others]

    def _receive(self, future: Future[Reply]) -> None:
        slot, campaign, call, begun = self._busy.pop(future)
        self._idle.append(slot)
        campaign.spent += now() - begun
        try:
            reply = future.result()
            if isinstance(reply, Measured) and slot.longest > 1:
                self._hand_out()  # before writing, so that no worker waits for the disk
            campaign.take(call, reply)
        except DamagedStore:  # the disk is full, or somebody else writes there: that ends every campaign
            raise
        except GradfuzzError as error:
            campaign.fail(error)
        if self._deadline is not None and campaign.state == "measuring" and campaign.allowance == float("inf"):
            unfinished = sum(one.state in ("waiting", "preparing", "measuring") for one in self._campaigns)
            campaign.allowance = campaign.spent + (self._deadline - now()) * self._workers / max(unfinished, 1)
