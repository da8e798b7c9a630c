"""The Markdown report: from stored rows alone, without torch, and with every name shown as plain text."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gradfuzz import campaign
from gradfuzz.analysis.fragility import effects_by_operator, fragility, is_fault, most_damaging, verdicts_by_detector
from gradfuzz.report.markdown import cell, percent, render, table, write
from gradfuzz.store import Tables, load
from gradfuzz.subjects import Provider, providers
from gradfuzz.subjects.case import Case

HOSTILE = ("<script>alert(1)</script>", "a|b", "`code`", "[x](javascript:alert(1))", "**bold** # title", "![i](http://e.example/x.png)")


class Hostile(nn.Module):
    """Modules whose names are markup."""

    def __init__(self) -> None:
        super().__init__()
        for number, name in enumerate(HOSTILE):
            self.add_module(name.replace(".", "·"), nn.Linear(4, 4) if number else nn.Linear(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = torch.tanh(module(x))
        return x


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The campaign of a model with hostile names."""

    def build(target: str, seed: int, shape: tuple[int, ...] | None) -> Case:
        return Case(Hostile(), (torch.randn(6, 3), torch.randn(6, 4)), nn.functional.mse_loss)

    providers.add("hostile", Provider("hostile", "names that are markup", lambda: ["case"], build))
    out = tmp_path_factory.mktemp("report") / "campaign"
    try:
        campaign.run(campaign.Settings("hostile:case", operators=("block", "zero-weight", "flip-requires-grad-input"), limit=120), out)
    finally:
        providers.remove("hostile")
    return out


@pytest.fixture(scope="module")
def tables(folder: Path) -> Tables:
    return load(folder)


def unescaped(text: str, mark: str) -> list[str]:
    """What stands around each ``mark`` that no backslash makes inert."""
    found = []
    for place, character in enumerate(text):
        before = text[:place]
        slashes = len(before) - len(before.rstrip("\\"))
        if character == mark and slashes % 2 == 0:
            found.append(text[max(place - 20, 0) : place + 20])
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_stored_as_they_are_and_shown_as_text(tables: Tables, name: str) -> None:
    named = tables.mutants.module.str.contains(name.replace(".", "·"), regex=False)
    assert named.any()
    manifest = {**tables.manifest, "left_out": {name: name}, "inputs": {name: name}}
    text = render(replace(tables, mutants=tables.mutants[named], manifest=manifest))
    assert text.count(cell(name)) >= 4
    assert cell(name.replace(".", "·")) in text
    assert "<" not in text
    for mark in "`[]!":
        assert unescaped(text, mark) == []
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# hostile:case", "## Fragility", "## Effects by operator", "## The most damaging silent faults", "## Detectors",
        "## Parameters left out of the truth",
    ]  # fmt: skip


def test_every_row_of_a_table_has_as_many_cells_as_its_header(tables: Tables) -> None:
    blocks = [block.splitlines() for block in render(tables).split("\n\n") if block.startswith("|")]
    for block in blocks:
        assert len({len(unescaped(line, "|")) for line in block}) == 1, block[0]


@given(st.text())
def test_no_text_leaves_its_cell(text: str) -> None:
    shown = cell(text)
    assert "\n" not in shown
    assert "\r" not in shown
    assert "<" not in shown
    for mark in "|`*_[]#!":
        assert unescaped(shown, mark) == []


def test_a_report_has_every_operator_and_effect_and_the_fragility(tables: Tables) -> None:
    text = render(tables)
    real = tables.mutants[tables.mutants.operator != campaign.CONTROL]
    assert all(f"| {cell(operator)} |" in text for operator in real.operator.unique())
    assert all(f" {effect} " in text for effect in real.effect.unique())
    assert f"{len(real)}, {real.signature.nunique()} distinct" in text
    assert all(f"| {detector} |" in text for detector in tables.verdicts.detector.unique())
    assert "Interrupted" not in text


def test_a_report_of_half_a_campaign_says_so(tables: Tables) -> None:
    half = replace(tables, mutants=tables.mutants.head(9), manifest={**tables.manifest, "status": "running"})
    assert f"**Interrupted: 9 of {tables.manifest['planned']} rows.**" in render(half)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_report_of_a_campaign_with_nothing_in_it_can_still_be_written(tables: Tables, rows: int) -> None:
    bare = Tables(tables.mutants.head(rows), tables.parameters.head(0), tables.verdicts.head(3 * rows), tables.manifest)
    text = render(bare)
    assert "0, 0 distinct" in text
    assert "| - |" in text


def test_parameters_that_were_left_out_are_listed_with_the_reason(tables: Tables) -> None:
    assert "left out" not in render(tables)
    told = render(replace(tables, manifest={**tables.manifest, "left_out": {"a|b": "no gradient"}}))
    assert "| a\\|b | no gradient |" in told


def test_reports_need_no_torch(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from gradfuzz.report import markdown; from gradfuzz.analysis import fragility\n"
        "from gradfuzz.store import load\n"
        "folder = Path(sys.argv[1]); before = markdown.render(load(folder)); assert markdown.write(load(folder), folder).exists()\n"
        "assert 'torch' not in sys.modules, 'torch was imported'; sys.stdout.buffer.write(before.encode())"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == render(load(folder)) == (folder / "report.md").read_text(encoding="utf-8")


def test_the_report_verb_writes_the_same_file_again(folder: Path) -> None:
    expected = write(load(folder), folder).read_bytes()
    (folder / "report.md").unlink()
    done = subprocess.run([sys.executable, "-m", "gradfuzz", "report", str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, [str(folder / "report.html"), str(folder / "report.md")])
    assert (folder / "report.md").read_bytes() == expected


# --- the numbers in it, on rows made by hand


def mutants(*rows: tuple[str, str, str, bool, bool, int]) -> pd.DataFrame:
    """operator, effect, cause, silent, loss_changed, numel_lost."""
    columns = ["operator", "effect", "cause", "silent", "loss_changed", "numel_lost"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["mutant"] = [f"s::{operator}::n{place}" for place, operator in enumerate(frame.operator)]
    frame["signature"] = [f"{effect} {lost}" for effect, lost in zip(frame.effect, frame.numel_lost, strict=True)]
    return frame.assign(family="block", gradient_error=0.5, module="m", source="", status="ok", faithful=frame.cause == "changed")


ROWS = mutants(
    ("none", "equivalent", "", True, False, 0),
    ("insert-detach", "dead", "cut", True, False, 50),
    ("insert-detach", "dead", "cut", False, False, 10),
    ("insert-detach", "raises", "cut", False, False, 100),
    ("insert-detach", "altered", "biased", True, False, 0),
    ("double-softmax", "altered", "changed", True, True, 0),
    ("zero-weight", "dead", "flat", True, True, 50),
    ("flip", "equivalent", "", True, False, 0),
    ("flip", "invalid", "", False, True, 0),
)
NONE = pd.DataFrame({"mutant": [], "parameter": []})


def test_a_fault_is_what_a_detector_is_asked_to_notice() -> None:
    assert is_fault(ROWS).tolist() == [False, True, True, False, True, False, True, False, False]


def test_the_fragility_is_counted_as_it_is_defined() -> None:
    found = fragility(Tables(ROWS, NONE, NONE, {"live_numel": 100}))
    assert found.cuts == 4
    assert found.killing == 3 / 4
    assert found.weights_lost == pytest.approx((0.5 + 0.1 + 0.0) / 3)
    assert (found.mutants, found.faults) == (8, 4)
    assert found.silent == 3 / 4
    assert found.invisible == 2 / 4


def test_the_most_damaging_are_silent_distinct_and_the_largest_first() -> None:
    assert most_damaging(ROWS).numel_lost.tolist() == [50, 0]
    assert len(most_damaging(ROWS, 1)) == 1


def test_effects_are_counted_without_the_control_and_worst_first() -> None:
    counts = effects_by_operator(ROWS)
    assert counts.columns.tolist() == ["invalid", "raises", "dead", "altered", "equivalent"]
    assert int(counts.to_numpy().sum()) == 8


def test_a_crash_is_no_detection_and_honest_changes_are_no_false_alarms() -> None:
    verdicts = pd.DataFrame({"mutant": ROWS.mutant, "detector": "d", "status": "ok", "flagged": True})
    verdicts.loc[1, ["status", "flagged"]] = ["error", False]
    (row,) = verdicts_by_detector(Tables(ROWS, NONE, verdicts, {})).to_dict("records")
    assert row == {"detector": "d", "faults_flagged": 3, "faults": 4, "false_alarms": 2, "correct": 2, "errors": 1}


@pytest.mark.parametrize(("share", "text"), [(0.0, "0.0 %"), (0.1234, "12.3 %"), (1.0, "100.0 %"), (float("nan"), "-")])
def test_shares_are_told_in_percent(share: float, text: str) -> None:
    assert percent(share) == text


def test_a_table_without_rows_is_its_header() -> None:
    assert table(("a", "b"), []) == "| a | b |\n| --- | --- |"
