"""The benchmark: its frozen set, that each row is judged as it should be, and that nothing finished is ever lost."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

import gradfuzz
from gradfuzz import api
from gradfuzz.analysis.board import Board
from gradfuzz.analysis.judgement import expected, misses
from gradfuzz.benchmark import exhibits, freezing, frozen
from gradfuzz.benchmark import run as running
from gradfuzz.benchmark.settings import Settings
from gradfuzz.detectors import Evidence, Verdict, detector, detectors, judge, select
from gradfuzz.errors import BadInput
from gradfuzz.records import Effect
from gradfuzz.report.leaderboard import miss_lines, render, write
from gradfuzz.store import Tables, load

REPOSITORY = Path(__file__).parent.parent
ROWS = frozen.read()

DETECTOR = '''
"""A detector of one's own."""
from gradfuzz.detectors import Evidence, Verdict


def half_of_the_gradients_are_gone(evidence: Evidence) -> Verdict:
    """At least half of the parameters have no gradient."""
    lost = tuple(name for name, norm in evidence.norms.items() if not norm)
    if 2 * len(lost) < len(evidence.norms):
        return Verdict(False)
    return Verdict(True, lost, f"{len(lost)} parameters without a gradient")
'''


def command_line(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gradfuzz", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        check=False,
    )


def verb(monkeypatch: pytest.MonkeyPatch, *arguments: object, code: int = 0) -> None:
    """``gradfuzz bench`` in this process."""
    from gradfuzz.cli import main

    monkeypatch.setattr(sys, "argv", ["gradfuzz", "bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Some rows of the quick subset, both traced and not, asked of a few rules."""
    names = ("grad-none-or-zero", "grad-none-or-zero-intent", "finite-difference-trainable", "unchanged-after-one-step")
    return gradfuzz.bench(names, tmp_path_factory.mktemp("bench") / "out", quick=True, limit=16)


# --- the frozen set


def test_the_set_is_large_and_no_row_is_in_it_twice():
    mutants = [row for row in ROWS if not row.control and not row.untraced]
    assert len(mutants) >= 2000
    assert len({row.subject for row in mutants}) >= 20
    assert len({row.mutant for row in ROWS}) == len(ROWS)


def test_mutants_of_one_subject_can_be_told_apart_unless_they_change_nothing():
    told = [(row.subject, row.signature) for row in ROWS if not row.control and not row.untraced and row.effect is not Effect.EQUIVALENT]
    assert len(set(told)) == len(told)


def test_each_beginning_of_the_set_holds_faults_and_correct_cases():
    for rows in (ROWS, [row for row in ROWS if row.quick]):
        effects = {row.effect for row in rows}
        assert {Effect.DEAD, Effect.ALTERED, Effect.NONFINITE, Effect.VANISHED, Effect.STUCK, Effect.EQUIVALENT} <= effects
        assert {row.name.operator for row in rows if row.control} == {"none", "intent"}


def test_every_mutated_subject_has_its_control():
    names = {row.mutant for row in ROWS}
    assert {f"{row.subject}::none::." for row in ROWS if not row.untraced} <= names
    assert {f"{row.subject}::none::fixed" for row in ROWS if row.name.operator == "bug"} <= names


def test_what_is_read_is_written_the_same():
    assert frozen.text(ROWS) == frozen.path_of().read_text("utf-8")


def test_a_part_of_the_set_comes_out_the_same_bits_again():
    script = REPOSITORY / "scripts" / "freeze_mutants.py"
    part = ("corpus:mlp", "corpus:bugs/wheatley-93-advantage-of-one-sample")
    done = subprocess.run([sys.executable, str(script), "--check", *part], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as in" in done.stdout


def test_a_version_is_never_written_over():
    done = subprocess.run([sys.executable, str(REPOSITORY / "scripts" / "freeze_mutants.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "never edited" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "line", ["", "a\tb", "corpus:mlp::none::.\tgone\t\tTrue\t0\t0\t6\t9\tTrue", "corpus:mlp::none::.\tdead\t\tTrue\t0\tx\t6\t9\tTrue"]
)
def test_a_damaged_set_is_refused_with_file_and_line(tmp_path, monkeypatch, line):
    header = frozen.text([])
    (tmp_path / "v1.tsv").write_text(f"{header}{line}\n", "utf-8")
    monkeypatch.setattr(frozen, "folder", lambda: tmp_path)
    with pytest.raises(BadInput, match=r"v1\.tsv:2 is no row of a mutant set"):
        frozen.read()
    with pytest.raises(BadInput, match="there is no mutant set 'v2'"):
        frozen.read("v2")


def test_the_choice_takes_every_kind_in_turn_and_operators_within_it():
    found = list(freezing.measured(api.trace("corpus:mlp"), 120))[1:]
    found = [item for item in found if item[1].effect is not Effect.INVALID]
    chosen = freezing.choose(found, 12)
    kinds = [(truth.effect, truth.cause) for _, truth in chosen]
    every = {(truth.effect, truth.cause) for _, truth in found}
    assert set(kinds[: len(every)]) == every
    assert freezing.choose(found[::-1], 12) == chosen


# --- what a row is


def test_every_detector_has_a_verdict_on_every_row(tables):
    assert len(tables.mutants) == 16
    assert len(tables.verdicts) == 16 * 4
    assert set(tables.mutants.status) == {"ok"}
    assert set(expected(tables.mutants)) >= {"fault", "correct"}


def test_rows_are_in_the_order_of_the_set_and_a_beginning_is_spread_over_the_subjects(tables):
    places = [row.mutant for row in ROWS]
    assert tables.mutants.mutant.tolist() == sorted(tables.mutants.mutant, key=places.index)
    assert tables.mutants.subject.nunique() >= 12


def test_the_manifest_has_what_scores_need(tables):
    subjects = set(tables.mutants.subject)
    assert subjects == set(tables.manifest["pass_seconds"]) == set(tables.manifest["live_parameters"])
    assert all(seconds > 0 for seconds in tables.manifest["pass_seconds"].values())


def shown(text: str) -> exhibits.Shown:
    row = next(row for row in ROWS if row.mutant == text)
    if row.untraced:
        return exhibits.show_untraced(row, exhibits.facts_of_untraced(row))
    traced = api.trace(row.subject)
    return exhibits.show_traced(row, traced, exhibits.facts_of_traced(traced))


def test_a_declared_stop_is_the_mutant_whose_author_says_so():
    row = next(row for row in ROWS if row.mutant.startswith("corpus:mlp::intent::insert-detach "))
    found = shown(row.mutant)
    lost = {one["parameter"] for one in found.parameters}
    case = found.exhibit.case()
    assert lost
    assert lost <= set(case.intended)
    assert expected(pd.DataFrame([found.mutant])).tolist() == ["correct"]
    blind, told = select(["grad-none-or-zero", "grad-none-or-zero-intent"])
    assert judge(blind, found.exhibit).flagged
    assert not judge(told, found.exhibit).flagged


def test_what_is_frozen_on_purpose_is_not_to_be_trained():
    row = next(row for row in ROWS if row.mutant.startswith("corpus:mlp::intent::freeze-module "))
    found = shown(row.mutant)
    case = found.exhibit.case()
    frozen_ones = {name for name, parameter in case.model.named_parameters() if not parameter.requires_grad}
    assert frozen_ones
    assert not frozen_ones & set(case.trainable)
    assert not judge(select(["any-module-frozen"])[0], found.exhibit).flagged


def test_a_real_fault_is_measured_against_its_fixed_side():
    found = shown("corpus:bugs/wekws-zero-grad-missing::bug::buggy")
    assert found.mutant["status"] == "ok"
    assert found.mutant["engine"] == "eager"
    assert found.parameters
    stuck = next(row for row in ROWS if row.effect is Effect.STUCK)
    assert {one["state"] for one in shown(stuck.mutant).parameters} == {"stuck"}


def test_a_row_with_another_label_here_counts_for_nothing(tmp_path, monkeypatch):
    control, *others = [row for row in ROWS if row.subject == "corpus:mlp"][:12]
    fault = next(row for row in others if row.effect is Effect.DEAD and not row.control)
    rows = [control, replace(fault, effect=Effect.NONFINITE)]
    monkeypatch.setattr(frozen, "read", lambda version: rows)
    found = gradfuzz.bench("grad-none", tmp_path / "out")
    moved = found.mutants[found.mutants.status == "moved"]
    assert moved.mutant.tolist() == [fault.mutant]
    assert moved.error.iloc[0].startswith("labelled nonfinite")
    assert expected(found.mutants).tolist().count("excluded") == 1
    assert fault.mutant.replace("_", "\\_") in render(Board(found)) or fault.mutant in render(Board(found))


# --- detectors of all sorts


def test_a_plain_function_is_asked_and_a_rude_one_does_not_disturb_the_others(tmp_path):
    def rude(case: gradfuzz.Case) -> Verdict:
        """Changes what it can, and then raises or hangs."""
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
        for parameter in case.model.parameters():
            parameter.zero_()
        while len(case.trainable) > 3:
            time.monotonic()
        raise RuntimeError("rude")

    polite = ("grad-none-or-zero", "finite-difference-trainable", "input-dependency")
    settings = {"on": "bugs", "limit": 8, "quick": True}
    alone = gradfuzz.bench(polite, tmp_path / "alone", **settings)
    beside = gradfuzz.bench((polite[0], rude, *polite[1:]), tmp_path / "beside", time_limit=0.2, **settings)
    said = ["mutant", "detector", "status", "flagged", "suspects", "message"]
    others = beside.verdicts[beside.verdicts.detector != "rude"]
    assert others[said].values.tolist() == alone.verdicts[said].values.tolist()
    assert set(beside.verdicts[beside.verdicts.detector == "rude"].status) <= {"error", "timeout", "raised"}
    assert {"error", "timeout"} <= set(beside.verdicts.status)


def test_a_detector_whose_package_is_absent_is_skipped_with_the_line_that_installs_it(tmp_path):
    @detector("of-an-absent-package", package="no-such-package", install="pip install no-such-package")
    def of_an_absent_package(evidence: Evidence) -> Verdict:
        """Never asked."""
        raise AssertionError

    said: list[str] = []

    class Told(running.Silent):
        def say(self, text: str) -> None:
            said.append(text)

    try:
        found = running.run(Settings(("of-an-absent-package", "grad-none"), "bugs", limit=3), tmp_path / "out", progress=Told())
    finally:
        detectors.remove("of-an-absent-package")
    assert found.verdicts[found.verdicts.detector == "of-an-absent-package"].status.tolist() == ["skipped"] * 3
    assert any("pip install no-such-package" in line for line in said)
    assert "pip install no-such-package" in render(Board(found))


def test_a_file_of_ones_own_is_benched_from_the_command_line(tmp_path, monkeypatch, capsys):
    mine, out = tmp_path / "mine.py", tmp_path / "out"
    mine.write_text(DETECTOR, "utf-8")
    assert len(DETECTOR.strip().splitlines()) <= 12
    asked = f"grad-none,{mine}:half_of_the_gradients_are_gone"
    verb(monkeypatch, "--quick", "--limit", 8, "--on", "bugs", "--detectors", asked, "--out", out)
    printed = capsys.readouterr().out
    assert re.search(r"half-of-the-gradients-are-gone +\d", printed)
    assert "recall" in printed
    assert "false alarms" in printed
    assert set(load(out).verdicts.detector) == {"grad-none", "half-of-the-gradients-are-gone"}
    board = json.loads((out / "leaderboard.json").read_text("utf-8"))
    assert {row["detector"] for row in board["leaderboard"]} == set(load(out).verdicts.detector)
    verb(monkeypatch, "--quick", "--limit", 8, "--on", "bugs", "--detector", "grad-none", "--misses", "--json", "--out", out)
    found = json.loads(capsys.readouterr().out)
    assert found["detector"] == "grad-none"
    assert 0 < len(found["misses"]) <= found["faults"]


def test_a_killed_benchmark_goes_on_and_has_lost_nothing(tmp_path):
    marker, mine, out = tmp_path / "calls", tmp_path / "mine.py", tmp_path / "out"
    mine.write_text(
        f'''
import os, pathlib, signal
from gradfuzz.detectors import Evidence, Verdict


def killer(evidence: Evidence) -> Verdict:
    """Kills the process at its fifth call."""
    marker = pathlib.Path({str(marker)!r})
    marker.write_text((marker.read_text() if marker.exists() else "") + "x")
    if len(marker.read_text()) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return Verdict(False)
''',
        "utf-8",
    )
    arguments = ("bench", "--on", "bugs", "--limit", 9, "--detectors", f"{mine}:killer", "--out", out)
    killed = command_line(*arguments)
    assert killed.returncode == -9
    before = load(out)
    assert len(before.mutants) == 4
    with pytest.raises(BadInput, match="add --resume"):
        gradfuzz.bench(f"{mine}:killer", out, on="bugs", limit=9)
    after = gradfuzz.bench(f"{mine}:killer", out, on="bugs", limit=9, resume=True)
    assert len(after.mutants) == len(after.verdicts) == 9
    kept = after.mutants[after.mutants.mutant.isin(before.mutants.mutant)]
    assert kept.seconds.tolist() == before.mutants.seconds.tolist()
    assert len(marker.read_text()) == 5 + 5  # the one that was killed was asked again, no other
    assert gradfuzz.bench(f"{mine}:killer", out, on="bugs", limit=9).mutants.seconds.tolist() == after.mutants.seconds.tolist()


def test_an_interrupted_benchmark_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    mine, out = tmp_path / "mine.py", tmp_path / "out"
    mine.write_text(
        '''
from gradfuzz.detectors import Evidence, Verdict

calls = []


def impatient(evidence: Evidence) -> Verdict:
    """Presses Ctrl-C at its third call."""
    calls.append(evidence)
    if len(calls) == 3:
        raise KeyboardInterrupt
    return Verdict(False)
''',
        "utf-8",
    )
    arguments = ("--on", "bugs", "--limit", 4, "--detectors", f"{mine}:impatient", "--out", out)
    verb(monkeypatch, *arguments, code=130)
    assert re.search(r"To go on: gradfuzz bench .* --resume\n", capsys.readouterr().err)
    assert len(load(out).mutants) == 2
    verb(monkeypatch, *arguments, "--resume")  # the file is loaded afresh, and is asked about two rows
    assert len(load(out).mutants) == 4


def test_an_edited_detector_makes_another_benchmark(tmp_path):
    mine, out = tmp_path / "mine.py", tmp_path / "out"
    mine.write_text(DETECTOR, "utf-8")
    name = f"{mine}:half_of_the_gradients_are_gone"
    gradfuzz.bench(name, out, on="bugs", limit=2)
    mine.write_text(DETECTOR.replace("2 *", "3 *"), "utf-8")
    with pytest.raises(BadInput, match="choose another --out"):
        gradfuzz.bench(name, out, on="bugs", limit=2)


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--detectors", "grad-nune"), "Did you mean 'grad-none'"),
        (("--on", "mutant"), "Did you mean 'mutants'"),
        (("--misses",), "whose misses"),
        (("--time-limit", "0"), "time limit must be positive"),
        (("--detectors", "nowhere.py:mine"), "there is no file"),
        (("--out", REPOSITORY / "docs", "--on", "bugs"), "is not empty"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, said, monkeypatch, capsys):
    from gradfuzz.cli import main

    monkeypatch.setattr(sys, "argv", ["gradfuzz", "bench", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert said in error
    assert error.count("\n") == 1


def test_the_python_interface_refuses_an_unknown_setting(tmp_path):
    with pytest.raises(BadInput, match="Did you mean 'quick'"):
        gradfuzz.bench("grad-none", tmp_path / "out", quik=True)
    with pytest.raises(BadInput, match="two of the detectors"):
        gradfuzz.bench(("grad-none", "grad-none"), tmp_path / "out")


# --- what comes out


def test_what_was_missed_is_listed_smallest_subject_first_with_a_line_that_shows_it(tables):
    found = misses(tables.mutants, tables.verdicts, "grad-none-or-zero")
    lines = [look for _, _, look in miss_lines(found)]
    assert found.params.tolist() == sorted(found.params)
    shows = [shlex.split(line) for line in lines if line.startswith("gradfuzz show")]
    assert shows
    assert all(len(words) == 3 and words[2] in set(found.mutant) for words in shows)
    first = next(words[2] for words in shows if words[2].startswith("corpus"))
    row = found.set_index("mutant").loc[first]
    assert api.observe(first).truth.effect == row.effect
    assert all((REPOSITORY / line).is_file() for line in lines if not line.startswith("gradfuzz"))


def test_recall_is_never_shown_without_the_false_alarm_rate(tables):
    text = render(Board(tables))
    headers = [line for line in text.splitlines() if line.startswith("| ") and "detector" in line]
    assert sum("recall" in line for line in headers) == 1
    for section in ("## Recall by effect", "## Recall by cause"):
        header = text[text.index(section) :].split("\n\n")[1].splitlines()[0]
        assert header.startswith("| detector | false alarms |")


def test_the_leaderboard_is_the_same_text_again(tables, tmp_path):
    path = write(Board(tables), tmp_path)
    assert path.read_text("utf-8") == render(Board(tables))


def test_tables_of_a_campaign_are_no_benchmark(tables):
    with pytest.raises(BadInput, match="not of a benchmark"):
        Board(Tables(tables.mutants, tables.parameters, tables.verdicts, {"campaign": {"model": "corpus:mlp"}}))
