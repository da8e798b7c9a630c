"""One campaign as the coordinating process sees it: what is in its folder, what is to be asked next, and what comes of it."""

from __future__ import annotations

import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

from gradfuzz.campaign import identity
from gradfuzz.campaign.calls import Call, Died, Excerpt, Excerpts, Measure, Measured, Prepare, Prepared, Reply
from gradfuzz.campaign.plan import draw, in_shard
from gradfuzz.campaign.progress import Progress
from gradfuzz.campaign.queue import BELIEVED, Queue
from gradfuzz.campaign.settings import Execution, Settings
from gradfuzz.errors import BadInput, GradfuzzError, Refused
from gradfuzz.store import Store, read_manifest, write_json, write_manifest
from gradfuzz.subjects import resolve

ENDED = ("complete", "stopped", "failed")
LOSSES = 5
"""Workers in a row that may vanish without having done anything."""


class Campaign:
    """state: waiting, preparing, measuring, closing, then complete, stopped or failed."""

    def __init__(self, settings: Settings, out: Path, execution: Execution, command: str, progress: Progress) -> None:
        self.settings, self.out, self.progress = settings, out, progress
        self._execution, self._command = execution, command
        self.subject = resolve(settings.model, settings.input_shape)
        self.identity = identity.describe(settings, self.subject)
        self.state, self.error = "waiting", None
        self.prepared: Prepared | None = None
        self.store: Store | None = None
        self.used = 0.0  # seconds that mutants took
        self.spent, self.allowance = 0.0, math.inf  # seconds of workers, and how many it may have of a time budget while others wait
        self._manifest: dict[str, Any] = {}
        self._queue = Queue(())
        self._handed_over: Counter[str] = Counter()
        self._measured = self._failures = self._losses = self._flying = 0
        self._started = time.time()
        self._excerpted = False

    error: GradfuzzError | None

    # --- the folder

    def check(self, resume: bool) -> None:
        """Refuse a folder that holds something else. A campaign that is done already becomes complete here, without torch."""
        before = read_manifest(self.out)
        if before is None:
            if self.out.exists() and any(not entry.name.startswith(".") for entry in self.out.iterdir()):
                raise BadInput(f"{self.out} is not empty and no campaign of ours: choose another --out")
            return
        found = identity.differences(before["campaign"], self.identity)
        other = [text for name, text in found.items() if name not in identity.CHANGEABLE]
        if other:
            raise BadInput(f"{self.out} holds another campaign ({'; '.join(other[:3])}): choose another --out")
        files = identity.changed_sources(before.get("sources", {}))
        if "source" in found:
            found["source"] = "the file of the model changed"
            files = [name for name in files if identity.file_hash(Path(name)) != self.identity["source"]]
        changed = [*found.values(), *(f"{name} changed" for name in files)]
        retried = [name for name in self._other_limits(before) if before.get("failed", {}).get(name)]
        if before["status"] == "complete" and not changed and not retried:
            self.progress.say(f"{self.out} is complete: nothing to do")
            self.state = "complete"
        elif not resume:
            if changed:
                what = f"this campaign as it was before ({'; '.join(changed[:3])}): add --resume to measure again what is stale"
            elif before["status"] == "complete":
                what = f"this campaign under another {' and '.join(retried)}: add --resume to try again what was over the old one"
            else:
                what = "this campaign, interrupted: add --resume to finish it"
            raise BadInput(f"{self.out} holds {what}, or choose another --out")

    def _other_limits(self, before: dict[str, Any]) -> list[str]:
        """Limits that are given now and are not those that were given before."""
        old, new = before.get("limits", {}), self._limits()
        return [name for name in new if new[name] is not None and new[name] != old.get(name)]

    def _limits(self) -> dict[str, float | None]:
        return {"time limit": self._execution.time_limit, "memory limit": self._execution.memory_limit}

    def begin(self, prepared: Prepared) -> None:
        """The subject is traced: write what is known of it, see what is there already, and queue the rest."""
        if self.prepared is not None:
            return  # another worker was getting ready too; a plan that differs shows when it measures
        ranked = sorted(range(1, len(prepared.tasks)), key=lambda place: draw(prepared.tasks[place][0], self.settings.seed))
        mine = [0, *(place for rank, place in enumerate(ranked) if in_shard(rank, self.settings.shard))]
        before = read_manifest(self.out) or {}
        self.prepared, self.state = prepared, "measuring"
        self._manifest = {
            "campaign": self.identity,
            "status": "running",
            "command": self._command,
            **prepared.about,
            "planned": len(mine),
            "planned_in_all": len(prepared.tasks),
            "detectors": list(prepared.detectors),
            "hardware": prepared.hardware,
            "limits": self._limits(),
            "parts": prepared.parts,
            "sources": prepared.sources,
        }
        write_manifest(self.out, self._manifest)  # first, so that a folder with rows in it is never without its name
        write_json(self.out / "graph.json", prepared.graph)
        self.store = Store(self.out)
        finished = self._fresh(before, {prepared.tasks[place][0]: place for place in mine})
        self._queue = Queue(place for place in mine if prepared.tasks[place][0] not in finished)
        self.progress.start(self.subject.name, len(mine), len(finished))

    def _fresh(self, before: dict[str, Any], plan: dict[str, int]) -> set[str]:
        """Texts of the mutants whose rows stand; the others are taken out, and it is said why."""
        assert self.store is not None
        assert self.prepared is not None
        stored = self.store.keys()
        key = dict(self.prepared.tasks)
        stale = {text for text, old in stored.items() if text not in plan or key[text] != old}
        why = [_in_words(name, text) for name, text in identity.differences(before.get("parts", {}), self.prepared.parts).items()]
        for limit in self._other_limits(before):
            over = set(self.store.failed({"time limit": "timeout", "memory limit": "memory"}[limit]))
            stale |= over
            why += [f"another {limit}"] if over else []
        if stale:
            self.progress.say(f"{len(stale)} of {len(stored)} rows of {self.subject.name} are stale ({'; '.join(why[:3])}): measured again")
        if stored:
            self.store.settle(plan, stale)
        return set(stored) - stale

    # --- what to do next

    @property
    def waiting(self) -> int:
        """Mutants that no worker has."""
        return len(self._queue)

    @property
    def mean(self) -> float:
        """Seconds of one mutant, so far."""
        return self.used / self._measured if self._measured else 0.0

    def worth_tracing(self) -> bool:
        """Whether a worker that has not traced it should help: not if the others are done before it could begin."""
        if self.prepared is None or not self._flying:
            return True
        return self.waiting * self.mean > self.prepared.seconds

    def limit(self, call: Call) -> float:
        """Seconds after which a worker that has not answered is ended from outside; it ends itself much earlier."""
        from gradfuzz.campaign.worker import TRACING

        each = self.prepared.limit if self.prepared else 0.0
        return 2 * (TRACING + each * (1 + len(call.positions) if isinstance(call, Measure) else 1))

    def next_call(self, longest: int, sharers: int, out_of_time: bool) -> Call | None:
        """longest: mutants in one call. sharers: workers among which the rest will be divided."""
        call = self._next_call(longest, sharers, out_of_time)
        self._flying += call is not None
        return call

    def _next_call(self, longest: int, sharers: int, out_of_time: bool) -> Call | None:
        if self.state in ("waiting", "preparing"):
            if out_of_time:
                return None
            if self.state == "waiting":
                self.state = "preparing"
                self.progress.say(f"tracing {self.subject.name} and checking that it trains")
            return Prepare(self.settings)
        if self.state == "measuring" and self.waiting and not out_of_time:
            assert self.prepared is not None
            positions = self._queue.take(longest, sharers, self.mean)
            return Measure(self.settings, positions, self.prepared.digest, self._queue.dead(positions))
        if self.state == "measuring" and not self.waiting and not self._flying:
            assert self.store is not None
            self.store.export()
            self.state = "closing"
            return Excerpt(self.settings, (self.out / "mutants.parquet").read_bytes())
        return None

    # --- what came of it

    def take(self, call: Call, reply: Reply) -> None:
        self._flying -= 1
        if self.state in ENDED:
            return None  # another worker's answer ended it
        if isinstance(reply, Died):
            return self._mourn(call, reply)
        self._failures = self._losses = 0
        if isinstance(reply, Prepared):
            self.begin(reply)
        elif isinstance(reply, Measured):
            self._keep(reply)
        elif isinstance(reply, Excerpts):
            self._complete(reply.code)

    def _keep(self, reply: Measured) -> None:
        assert self.store is not None
        assert self.prepared is not None
        tasks = self.prepared.tasks
        self.store.append_all([(place, *rows, tasks[place][1]) for place, rows in reply.rows])
        self.used += reply.seconds
        self._measured += len(reply.rows)
        self._handed_over.update(reply.handed_over)
        for _, (mutant, _, verdicts) in reply.rows:
            self.progress.advance(mutant, verdicts)

    def _complete(self, code: dict[str, Any]) -> None:
        assert self.store is not None
        write_json(self.out / "code.json", code)
        failed = {name: len(self.store.failed(status)) for name, status in (("time limit", "timeout"), ("memory limit", "memory"))}
        handed, seconds = dict(self._handed_over), round(time.time() - self._started, 2)
        write_manifest(self.out, {**self._manifest, "status": "complete", "failed": failed, "handed_over": handed, "seconds": seconds})
        self._end("complete")

    def stop(self) -> None:
        """Out of time: what is there stays, and can be resumed."""
        if self.store is not None:
            write_manifest(self.out, {**self._manifest, "stopped": "the time budget was spent"})
        self._end("stopped")

    def fail(self, error: GradfuzzError) -> None:
        self.error = error
        self._end("failed")

    def _end(self, state: str) -> None:
        self.state = state
        self.close()
        self.progress.end(self.subject.name, str(self.error) if self.error else state)

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
            self.store = None

    def _mourn(self, call: Call, died: Died) -> None:
        """A worker died: who is to blame, and what is to be done again."""
        positions = call.positions if isinstance(call, Measure) else ()
        if died.reason == "lost":
            self._losses += 1
            if self._losses > LOSSES:
                what = f"{LOSSES} workers in a row ended before they did anything ({died.text})"
                raise GradfuzzError(f"{what}: look at the memory, the disk and the plugins")
            self._queue.put_back(positions)
        elif isinstance(call, Excerpt):
            self.progress.say(f"{self.subject.name}: {died.text} while the code of the worst mutants was printed: code.json stays empty")
            return self._complete({})
        elif not positions or died.place == -1:
            self._failures += 1
            if self._failures >= BELIEVED:
                return self.fail(Refused(f"{self.subject.name} cannot be traced: {died.text}, twice"))
            self._queue.put_back(positions)
        else:
            assert self.prepared is not None
            believed = self._queue.died(positions, died, self.prepared.detectors)
            if believed:
                position, dead = believed
                whose = f"{dead.detector} on " if dead.detector else ""
                self.progress.say(f"{whose}{self.prepared.tasks[position][0]}: {dead.status}, {dead.error}")
        if isinstance(call, Excerpt):
            self.state = "measuring"  # asked for again


def _in_words(name: str, text: str) -> str:
    """Hashes say nothing to a reader, values do."""
    return text if name in ("seed", "versions") else f"{name} changed"
