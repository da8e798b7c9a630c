"""Several models over the same workers, and what happens when the time is over."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from importlib import import_module
from pathlib import Path

import pytest
from test_campaign import SETTINGS, Counts, assert_same_tables

from gradfuzz import campaign
from gradfuzz.campaign import Execution, Settings, run_all
from gradfuzz.campaign.calls import Call, Reply
from gradfuzz.campaign.progress import Row
from gradfuzz.errors import BadInput
from gradfuzz.executors.local import InProcess
from gradfuzz.store import load

coordination = import_module("gradfuzz.campaign.run")  # the package has a function of that name
FROZEN = "import torch\n\ndef make():\n    return torch.nn.Linear(2, 2).requires_grad_(False), torch.randn(2, 2)\n"


@pytest.mark.parametrize("jobs", [1, 2])
def test_several_models_share_the_workers_and_one_that_is_refused_stops_no_other(tmp_path: Path, jobs: int) -> None:
    (tmp_path / "own.py").write_text(FROZEN)
    names = ("corpus:mlp", f"{tmp_path / 'own.py'}:make", "corpus:cnn")
    orders = [(Settings(name, operators=("freeze-parameter",)), tmp_path / str(place)) for place, name in enumerate(names)]
    found = run_all(orders, execution=Execution(jobs=jobs))
    assert [outcome.state for outcome in found] == ["complete", "failed", "complete"]
    assert "only frozen parameters" in str(found[1].error)
    for place in (0, 2):
        assert_same_tables(load(tmp_path / str(place)), campaign.run(orders[place][0], tmp_path / f"alone-{place}"))


def test_a_name_that_does_not_exist_is_refused_before_any_work(tmp_path: Path) -> None:
    orders = [(Settings(name), tmp_path / name) for name in ("corpus:mlp", "corpus:mpl")]
    with pytest.raises(BadInput, match=r"corpus has no model 'mpl'\. Did you mean 'mlp'"):
        run_all(orders)
    assert not list(tmp_path.iterdir())


class Clock(Counts):
    """Every row takes a second of a clock that stands still otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def advance(self, mutant: Row, verdicts: Sequence[Row]) -> None:
        super().advance(mutant, verdicts)
        self.now += 1.0


def test_without_time_nothing_new_is_begun_and_what_is_missing_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(coordination, "now", lambda: clock.now)
    part = campaign.run(SETTINGS, tmp_path / "part", execution=Execution(time_budget=7.0), progress=clock)
    assert len(part.mutants) == 7
    assert (part.manifest["status"], part.manifest["stopped"]) == ("running", "the time budget was spent")
    rest = campaign.run(SETTINGS, tmp_path / "part", resume=True)
    assert_same_tables(rest, campaign.run(SETTINGS, tmp_path / "whole"))
    assert "stopped" not in rest.manifest


def test_a_budget_is_shared_among_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, submit = Clock(), InProcess.submit

    def takes_a_second(slot: InProcess, call: Call, limit: float) -> Future[Reply]:
        clock.now += 1.0
        return submit(slot, call, limit)

    monkeypatch.setattr(coordination, "now", lambda: clock.now)
    monkeypatch.setattr(InProcess, "submit", takes_a_second)
    orders = [(Settings(name), tmp_path / name.replace(":", "-")) for name in ("corpus:mlp", "corpus:cnn")]
    found = run_all(orders, execution=Execution(time_budget=60.0))
    assert [outcome.state for outcome in found] == ["stopped", "stopped"]
    counts = [len(load(folder).mutants) for _, folder in orders]
    assert sum(counts) == 58, "two of the calls traced"
    assert abs(counts[0] - counts[1]) <= 2
