"""A campaign: what is planned, what is stored of it, and that neither Ctrl-C nor kill -9 changes what comes out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from gradfuzz import api, campaign
from gradfuzz.campaign import CONTROL, Settings, Silent, plan, sample
from gradfuzz.campaign import state as campaign_state
from gradfuzz.campaign.progress import Row
from gradfuzz.detectors import detector, detectors
from gradfuzz.errors import BadInput, DamagedStore, Refused
from gradfuzz.graph.trace import TracedCase, trace
from gradfuzz.operators import operators, select
from gradfuzz.records import Mutant, Thresholds
from gradfuzz.store import TABLES, Tables, load
from gradfuzz.subjects import resolve

SETTINGS = Settings(
    "corpus:mlp", operators=("insert-detach", "freeze-parameter", "wrong-custom-backward", "flip-requires-grad-intermediate")
)
CONTRACT = {
    "mutants": "mutant subject operator family level site module source effect cause faithful silent loss_changed params params_missing "
    "params_zero params_vanished params_altered params_nonfinite numel_lost gradient_error signature status error engine seconds seed",
    "parameters": "mutant parameter state norm_ratio cosine",
    "verdicts": "subject mutant detector status flagged suspects rank message seconds",
}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small campaign that nothing disturbed."""
    folder = tmp_path_factory.mktemp("finished") / "campaign"
    campaign.run(SETTINGS, folder)
    return folder


@pytest.fixture(scope="session")
def tables(finished: Path) -> Tables:
    return load(finished)


@pytest.fixture(scope="session")
def mlp() -> TracedCase:
    return trace(resolve("corpus:mlp"))


def without_seconds(found: Tables) -> dict[str, pd.DataFrame]:
    return {table: getattr(found, table).drop(columns="seconds", errors="ignore") for table in TABLES}


def assert_same_tables(one: Tables, other: Tables) -> None:
    for table, frame in without_seconds(one).items():
        assert_frame_equal(frame, without_seconds(other)[table], check_exact=True)


# --- plan


def test_a_plan_is_the_same_on_every_trace_and_starts_with_the_control(mlp: TracedCase) -> None:
    again = trace(resolve("corpus:mlp"))
    one, other = ([str(task.mutant) for task in plan(case, select(None))] for case in (mlp, again))
    assert one == other
    assert one[0] == "corpus:mlp::none::."
    assert len(set(one)) == len(one)
    assert [task.position for task in plan(mlp, select(None))] == list(range(len(one)))


def test_what_a_mutant_is_called_depends_on_nothing_but_its_content(mlp: TracedCase) -> None:
    alone = {str(task.mutant) for task in plan(mlp, select(["insert-detach"]))}
    among = {str(task.mutant) for task in plan(mlp, select(None))}
    assert alone < among
    other = trace(resolve("corpus:mlp"), seed=7)
    assert alone == {str(task.mutant) for task in plan(other, select(["insert-detach"]))}


def test_a_plan_keeps_to_its_limit_and_the_control_comes_on_top(mlp: TracedCase) -> None:
    everything = [str(task.mutant) for task in plan(mlp, select(None))]
    for limit in (1, 17, len(everything), 10**6):
        limited = [str(task.mutant) for task in plan(mlp, select(None), limit)]
        assert len(limited) == min(limit, len(everything) - 1) + 1
        assert limited == [name for name in everything if name in set(limited)], "in another order"


def test_another_seed_draws_another_sample(mlp: TracedCase) -> None:
    draws = [{str(task.mutant) for task in plan(mlp, select(None), 20, seed)} for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


PLANS = st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 30), min_size=1).map(
    lambda sizes: [Mutant("s", operator, f"n{place}") for operator, size in sizes.items() for place in range(size)]
)


@given(PLANS, st.integers(1, 100), st.integers(0, 5), st.randoms())
def test_a_sample_keeps_the_shares_of_the_operators(mutants: list[Mutant], limit: int, seed: int, shuffler: Any) -> None:
    chosen = sample(mutants, limit, seed)
    sizes, drawn = Counter(m.operator for m in mutants), Counter(m.operator for m in chosen)
    assert len(set(chosen)) == len(chosen) == min(limit, len(mutants))
    if limit >= len(sizes):
        assert set(drawn) == set(sizes), "each operator has one at least"
        for operator, size in sizes.items():
            spare = limit - len(sizes)
            assert drawn[operator] <= 2 + size * min(1.0, limit / len(mutants)) or spare == 0
    shuffled = mutants[:]
    shuffler.shuffle(shuffled)
    assert set(sample(shuffled, limit, seed)) == set(chosen)


@given(PLANS, st.integers(1, 99), st.integers(0, 5))
def test_a_larger_sample_contains_the_smaller_one(mutants: list[Mutant], limit: int, seed: int) -> None:
    assert set(sample(mutants, limit, seed)) <= set(sample(mutants, limit + 1, seed))


@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"seed": 2**32}, {"limit": 0}, {"limit": -5}, {"verify": 1.5}, {"engine": "quantum"}, {"thresholds": 1.0}],
    ids=str,
)
def test_settings_without_sense_are_refused_before_any_work(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=rf"{next(iter(wrong.values()))}|got float") as caught:
        Settings("corpus:mlp", **wrong)
    assert "\n" not in str(caught.value)


# --- what is stored


def test_the_columns_of_the_contract_are_all_there(tables: Tables) -> None:
    for table, columns in CONTRACT.items():
        assert set(columns.split()) <= set(getattr(tables, table).columns)


def test_the_control_is_a_row_and_equivalent(tables: Tables) -> None:
    control = tables.mutants.iloc[0]
    assert (control.operator, control.effect, control.cause, control.status) == (CONTROL, "equivalent", "", "ok")
    assert control.silent
    assert control.faithful
    assert not control.loss_changed
    assert control.gradient_error == 0
    verdicts = tables.verdicts[tables.verdicts.mutant == control.mutant]
    assert verdicts.detector.tolist() == [one.name for one in detectors.values() if one.needs == "observation"]
    assert not verdicts.flagged.any()


def test_the_tables_agree_with_each_other(tables: Tables) -> None:
    mutants, states = tables.mutants.set_index("mutant"), pd.crosstab(tables.parameters.mutant, tables.parameters.state)
    for state in ("missing", "zero", "altered"):
        if state in states:
            assert (mutants[f"params_{state}"].reindex(states.index) == states[state]).all()
    assert "same" not in set(tables.parameters.state)
    asked = tables.verdicts.groupby("mutant").size()
    assert (asked == sum(one.needs == "observation" for one in detectors.values())).all()
    assert set(mutants.index) - set(asked.index) == set(mutants.index[mutants.effect == "invalid"])
    assert (tables.verdicts[tables.verdicts.status == "raised"].mutant.map(mutants.effect) == "raises").all()


def test_a_detach_of_the_first_layer_is_stored_as_it_happened(tables: Tables) -> None:
    found = tables.mutants.set_index("mutant").loc["corpus:mlp::insert-detach::m0"]
    assert (found.effect, found.cause, found.params, found.params_missing) == ("dead", "cut", 6, 2)
    assert found.numel_lost == 12 * 24 + 24
    assert found.module == "0"
    rows = tables.verdicts[tables.verdicts.mutant == found.name].set_index("detector")
    lost = rows[rows.index.str.startswith(("grad-none", "grad-norm"))]
    assert lost.flagged.all()
    assert not rows.drop(lost.index).flagged.any()
    assert json.loads(rows.suspects["grad-none"]) == ["0.weight", "0.bias"]
    assert (lost["rank"] == 1).all()


def test_the_manifest_says_what_was_done_and_on_what(tables: Tables) -> None:
    manifest = tables.manifest
    assert manifest["status"] == "complete"
    assert manifest["planned"] == len(tables.mutants)
    assert (manifest["live_parameters"], manifest["live_numel"]) == (6, 12 * 24 + 24 + 24 * 24 + 24 + 24 * 5 + 5)
    assert manifest["inputs"] == {"inputs_0": "(16, 12) torch.float32", "target": "(16,) torch.int64"}
    settings = manifest["campaign"]
    assert settings["model"] == "corpus:mlp"
    assert settings["thresholds"]["same"] == Thresholds().same
    assert set(settings["versions"]) >= {"gradfuzz", "torch"}


def test_two_runs_give_the_same_bytes_times_aside(finished: Path, tmp_path: Path) -> None:
    campaign.run(SETTINGS, tmp_path)
    for table in TABLES:
        one, other = (
            pd.read_parquet(folder / f"{table}.parquet").drop(columns="seconds", errors="ignore") for folder in (finished, tmp_path)
        )
        one.to_parquet(tmp_path / "one")
        other.to_parquet(tmp_path / "other")
        assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes(), table
    assert (tmp_path / "parameters.parquet").read_bytes() == (finished / "parameters.parquet").read_bytes()


def test_another_seed_gives_another_table(tables: Tables, tmp_path: Path) -> None:
    other = campaign.run(Settings("corpus:mlp", operators=("wrong-custom-backward",), seed=3), tmp_path)
    common = tables.mutants.merge(other.mutants, on="mutant")
    assert len(common) > 1
    assert (common.signature_x != common.signature_y).all()


def test_a_detector_that_crashes_has_an_error_and_no_detection(tmp_path: Path) -> None:
    @detector("test-crashes")
    def crashes(evidence: Any) -> Any:
        """Divides by zero."""
        return 1 / 0

    try:
        found = campaign.run(Settings("corpus:mlp", operators=("freeze-parameter",), detectors=("test-crashes",)), tmp_path).verdicts
    finally:
        detectors.remove("test-crashes")
    assert set(found.status) == {"error"}
    assert not found.flagged.any()
    assert set(found.message) == {"ZeroDivisionError: division by zero"}


# --- interruptions


class Interrupts(Silent):
    """Ctrl-C after so many rows."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, mutant: Row, verdicts: Sequence[Row]) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


class Counts(Silent):
    """How many rows were measured, and how many were there before."""

    def __init__(self) -> None:
        self.measured, self.before, self.said = 0, 0, ""

    def say(self, text: str) -> None:
        self.said += text

    def start(self, model: str, total: int, finished: int) -> None:
        self.before = finished

    def advance(self, mutant: Row, verdicts: Sequence[Row]) -> None:
        self.measured += 1


@pytest.mark.parametrize("stops", [(1,), (2, 5, 1), (27,)])
def test_a_resumed_campaign_equals_an_undisturbed_one(tables: Tables, tmp_path: Path, stops: Iterable[int]) -> None:
    for after in stops:
        with pytest.raises(KeyboardInterrupt):
            campaign.run(SETTINGS, tmp_path, resume=True, progress=Interrupts(after))
    half = load(tmp_path)
    assert half.manifest["status"] == "running"
    assert len(half.mutants) == sum(stops)
    rest = Counts()
    whole = campaign.run(SETTINGS, tmp_path, resume=True, progress=rest)
    assert (rest.before, rest.measured) == (sum(stops), len(tables.mutants) - sum(stops))
    assert_same_tables(whole, tables)
    assert_frame_equal(whole.mutants[whole.mutants.mutant.isin(half.mutants.mutant)].reset_index(drop=True), half.mutants)


def test_an_interrupted_campaign_is_not_overwritten_without_being_asked(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        campaign.run(SETTINGS, tmp_path, progress=Interrupts(2))
    with pytest.raises(BadInput, match="interrupted: add --resume to finish it, or choose another --out"):
        campaign.run(SETTINGS, tmp_path)
    assert len(load(tmp_path).mutants) == 2


def test_an_interruption_before_the_first_row_can_be_resumed(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(campaign_state, "Store", interrupted)
        with pytest.raises(KeyboardInterrupt):
            campaign.run(SETTINGS, tmp_path)
    (tmp_path / ".manifest.json.12345").write_text("{")  # what a kill in the middle of writing leaves
    assert_same_tables(campaign.run(SETTINGS, tmp_path, resume=True), tables)


KILLED = """
import os, signal, sys
from pathlib import Path
from gradfuzz import campaign
from gradfuzz.records import Thresholds

class Kills(campaign.Silent):
    left = int(sys.argv[2])
    def advance(self, mutant, verdicts):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

import torch
torch.set_num_threads(1)
campaign.run(campaign.Settings("corpus:mlp", operators=tuple(sys.argv[3:])), Path(sys.argv[1]), progress=Kills())
"""


def test_after_kill_9_a_resumed_campaign_equals_an_undisturbed_one(tables: Tables, tmp_path: Path) -> None:
    assert SETTINGS.operators is not None
    ran = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), "9", *SETTINGS.operators], capture_output=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert (tmp_path / "campaign.sqlite-wal").exists()
    assert len(load(tmp_path).mutants) == 9
    assert_same_tables(campaign.run(SETTINGS, tmp_path, resume=True), tables)


# --- folders that hold something already


def test_a_finished_campaign_is_read_and_not_run_again(finished: Path, tables: Tables) -> None:
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    seen = Counts()
    assert_same_tables(campaign.run(SETTINGS, finished, progress=seen), tables)
    assert (seen.measured, seen.said) == (0, f"{finished} is complete: nothing to do")
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def test_nothing_to_do_needs_no_torch(finished: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from gradfuzz import campaign\n"
        f"found = campaign.run(campaign.Settings('corpus:mlp', operators={SETTINGS.operators}), Path({str(finished)!r}))\n"
        "assert len(found.mutants)\n"
        "sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        (Settings("corpus:cnn", operators=SETTINGS.operators), "model 'corpus:mlp' there, 'corpus:cnn' here"),
        (Settings("corpus:mlp", operators=SETTINGS.operators, sample=0.5), "sample None there, 0.5 here"),
        (Settings("corpus:mlp", operators=SETTINGS.operators, shard=(1, 2)), "shard None there, '1/2' here"),
        (Settings("corpus:mlp", operators=SETTINGS.operators, limit=5), "limit None there, 5 here"),
        (Settings("corpus:mlp", operators=("insert-data",)), "operators .* there, .*'insert-data'.* here"),
        (Settings("corpus:mlp", operators=SETTINGS.operators, thresholds=Thresholds(vanished=0.1)), "thresholds .* there"),
    ],
)
@pytest.mark.parametrize("resume", [False, True])
def test_the_folder_of_another_campaign_is_refused_with_the_difference(
    finished: Path, settings: Settings, difference: str, resume: bool
) -> None:
    with pytest.raises(BadInput, match=f"holds another campaign .*{difference}.*: choose another --out") as caught:
        campaign.run(settings, finished, resume=resume)
    assert "\n" not in str(caught.value)


def test_the_order_in_which_operators_are_named_makes_no_other_campaign(finished: Path) -> None:
    assert SETTINGS.operators is not None
    turned = Settings("corpus:mlp", operators=SETTINGS.operators[::-1])
    assert len(campaign.run(turned, finished).mutants)


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(BadInput, match="is not empty and no campaign of ours: choose another --out"):
        campaign.run(SETTINGS, tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize(
    "model", ["import torch\n\ndef make():\n    return torch.nn.Linear(2, 2).requires_grad_(False), torch.randn(2, 2)\n"]
)
def test_a_refused_subject_leaves_no_folder(tmp_path: Path, model: str) -> None:
    (tmp_path / "own.py").write_text(model)
    with pytest.raises((BadInput, Refused)):
        campaign.run(Settings(f"{tmp_path / 'own.py'}:make"), tmp_path / "out")
    with pytest.raises(BadInput, match="there is no engine 'quantum'"):
        campaign.run(Settings("corpus:mlp", engine="quantum"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DamagedStore, match="choose another --out"):
        campaign.run(SETTINGS, tmp_path / "file" / "out")


# --- the Python interface


def test_the_python_interface_takes_the_same_road(tables: Tables, tmp_path: Path) -> None:
    found = api.run("corpus:mlp", tmp_path / "out", operators=SETTINGS.operators)
    assert_same_tables(found, tables)
    assert api.run("corpus:mlp", tmp_path / "one", operators="insert-detach").mutants.operator.isin([CONTROL, "insert-detach"]).all()
    assert [str(mutant) for mutant in api.plan("corpus:mlp", SETTINGS.operators)] == tables.mutants.mutant.tolist()


def test_a_single_mutant_is_observed_as_in_a_campaign(tables: Tables, finished: Path) -> None:
    for text in tables.mutants.mutant[[0, 3, 9]]:
        stored = tables.mutants.set_index("mutant").loc[text]
        truth = api.observe(text).truth
        assert (truth.effect, truth.cause, truth.signature) == (stored.effect, stored.cause, stored.signature)
        assert api.replay(text, finished).differences == {}


def test_a_replay_says_in_which_fields_it_differs(finished: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    mutants = pd.read_parquet(copy / "mutants.parquet")
    changed = mutants.mutant == "corpus:mlp::insert-detach::m0"
    mutants.loc[changed, ["effect", "signature"]] = ["altered", "0" * 16]
    mutants.loc[changed, "faithful"] = pd.NA
    mutants.to_parquet(copy / "mutants.parquet", index=False)
    found = api.replay("corpus:mlp::insert-detach::m0", copy)
    assert set(found.differences) == {"effect", "faithful", "signature"}
    assert found.differences["effect"] == ("altered", "dead")
    with pytest.raises(BadInput, match="has no row for corpus:mlp::zero-hook::m0"):
        api.replay("corpus:mlp::zero-hook::m0", copy)


def test_an_operator_with_a_typing_error_is_refused_with_the_near_miss(tmp_path: Path) -> None:
    assert "insert-detach" in operators
    with pytest.raises(BadInput, match="Did you mean 'insert-detach'"):
        api.run("corpus:mlp", tmp_path / "out", operators=["insert-detatch"])
    with pytest.raises(BadInput, match="Did you mean 'insert-detach'"):
        api.observe("corpus:mlp::insert-detatch::m0")
    assert not (tmp_path / "out").exists()
