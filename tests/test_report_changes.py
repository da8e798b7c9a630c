"""``gradfuzz compare`` and ``gradfuzz report`` from the command line: what changed, exit codes, and one line for bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from report_campaigns import made, mutants, verdicts

from gradfuzz.analysis.changes import compare
from gradfuzz.report.changes import tables
from gradfuzz.store import load


def gradfuzz(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "gradfuzz", *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return made(tmp_path / "before")


def changed(folder: Path) -> Path:
    """Another version: flip is a silent fault now, zero-weight is none, there is a new place, and a detector says other things."""
    rows = mutants("made:net")
    by_name = {row["mutant"].partition("::")[2]: row for row in rows}
    by_name["flip::a"] |= {"effect": "dead", "cause": "cut", "numel_lost": 80}
    by_name["zero-weight::a.weight"] |= {"effect": "equivalent", "cause": "", "numel_lost": 0}
    rows.append({**by_name["insert-detach::c"], "mutant": "made:net::insert-detach::new", "site": "new", "signature": "new"})
    rows = [{**row, "seconds": 0.25} for row in rows if row["operator"] != "swap"]
    said = verdicts(rows)
    for row in said:
        if row["detector"] == "sees-none" and row["mutant"].endswith("insert-detach::a"):
            row["flagged"] = False
    return made(folder, rows=rows, said=said)


def test_a_campaign_compared_with_itself_has_not_changed(before: Path) -> None:
    found = compare(load(before), load(before))
    assert (found.common, found.only_before, found.only_after) == (10, 0, 0)
    assert not found.is_worse
    assert found.gone.empty
    assert found.effects.empty
    assert found.flips.empty


def test_new_and_gone_silent_faults_are_named_with_what_they_were(before: Path, tmp_path: Path) -> None:
    found = compare(load(before), load(changed(tmp_path / "after")))
    assert found.is_worse
    assert found.new[["break", "was"]].values.tolist() == [["flip::a", "equivalent"], ["insert-detach::new", "new place"]]
    assert found.gone[["break", "was"]].values.tolist() == [["zero-weight::a.weight", "equivalent"]]
    moves = {(r["effect_before"], r["effect_after"]): r["mutants"] for r in found.effects.to_dict("records")}
    assert moves == {("equivalent", "dead"): 1, ("dead", "equivalent"): 1}
    assert (found.common, found.only_before, found.only_after) == (9, 1, 1)
    assert (found.seconds_before, found.seconds_after) == (0.5, 0.25)


def test_flipped_verdicts_are_counted_by_detector(before: Path, tmp_path: Path) -> None:
    flips = compare(load(before), load(changed(tmp_path / "after"))).flips.set_index("detector")
    assert flips.loc["sees-none"].tolist() == [1, 1, 1]  # flags flip now, no longer the cut of a
    assert "crashes" not in flips.index


def test_a_mutant_that_was_only_not_sampled_is_no_new_fault(tmp_path: Path) -> None:
    rows = mutants("made:net")
    few = [row for row in rows if row["mutant"] != "made:net::insert-detach::c"]  # the site c has other mutants
    found = compare(load(made(tmp_path / "few", rows=few)), load(made(tmp_path / "all")))
    assert not found.is_worse
    assert found.only_after == 1


def test_two_versions_under_other_names_are_compared(before: Path, tmp_path: Path) -> None:
    found = compare(load(before), load(made(tmp_path / "renamed", "made:net2")))
    assert found.common == 10
    assert not found.is_worse


def test_campaigns_with_nothing_in_common_can_be_compared(before: Path, tmp_path: Path) -> None:
    empty = load(made(tmp_path / "empty", rows=mutants("made:net")[:1]))
    found = compare(empty, load(before))
    assert found.common == 0
    assert len(found.new) == 6
    assert list(tables(found, "a", "b"))


def test_compare_fails_only_when_asked_to(before: Path, tmp_path: Path) -> None:
    after = changed(tmp_path / "after")
    plain = gradfuzz("compare", before, after)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert "equivalent -> dead" in plain.stdout
    gated = gradfuzz("compare", before, after, "--fail-on-new", "--json")
    assert gated.returncode == 1
    assert [row["break"] for row in json.loads(gated.stdout)["new"]] == ["flip::a", "insert-detach::new"]
    assert gradfuzz("compare", after, before, "--fail-on-new").returncode == 1  # zero-weight is new that way round
    assert gradfuzz("compare", before, before, "--fail-on-new").returncode == 0


def test_the_report_verb_prints_the_files_that_it_wrote(before: Path) -> None:
    done = gradfuzz("report", before)
    assert (done.returncode, done.stdout.split()) == (0, [str(before / "report.html"), str(before / "report.md")])
    listed = gradfuzz("report", before, "--format", "stryker,csv", "--json")
    assert Path(json.loads(listed.stdout)["files"][0]) == before / "mutation-report.json"


def test_every_run_ends_with_the_report(tmp_path: Path) -> None:
    done = gradfuzz("run", "--model", "corpus:mlp", "--operators", "insert-detach", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "insert-detach at" in page
    assert 'id="sites"' in page
    assert (tmp_path / "run" / "report.md").exists()


def test_bad_input_to_report_and_compare_is_one_line(before: Path, tmp_path: Path) -> None:
    for arguments in (("report", tmp_path / "none"), ("report", before, "--format", "pdf"), ("compare", before, tmp_path / "none")):
        done = gradfuzz(*arguments)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert "Traceback" not in done.stderr
