"""The report for other programs: mutation-testing-elements, LaTeX, CSV, JSON, and the notebook."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from report_campaigns import HOSTILE, made

import gradfuzz
from gradfuzz.errors import BadInput, DamagedStore
from gradfuzz.report.data import embed
from gradfuzz.report.exports import latex_cell, write_csv
from gradfuzz.report.reading import find, read
from gradfuzz.report.writing import FORMATS, write

SCHEMA = json.loads((Path(__file__).parent / "data" / "mutation-testing-report-schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return made(tmp_path / "one")


def stryker(folder: Path) -> dict:
    (path,) = write([folder], ["stryker"])
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("graph", [True, False])
def test_the_stryker_report_keeps_to_the_schema(tmp_path: Path, graph: bool) -> None:
    found = stryker(made(tmp_path, module=HOSTILE, graph=graph))
    assert list(Draft7Validator(SCHEMA).iter_errors(found)) == []
    broken = {**found, "files": {"x": {"mutants": [], "language": "python"}}}
    assert [error.message for error in Draft7Validator(SCHEMA).iter_errors(broken)] == ["'source' is a required property"]


def test_the_stryker_report_has_a_status_for_every_mutant_and_crashes_kill_nothing(one: Path) -> None:
    found = stryker(one)
    (file,) = found["files"].values()
    status = {mutant["id"].partition("::")[2]: mutant["status"] for mutant in file["mutants"]}
    assert status == {
        **{f"insert-detach::{site}": "Killed" for site in "abcd"}, "insert-detach::loss": "RuntimeError", "insert-detach::b->d": "Survived",
        "zero-weight::a.weight": "Killed", "flip::a": "Ignored", "double-softmax::c": "Ignored", "swap::c": "RuntimeError",
    }  # fmt: skip
    by_id = {mutant["id"].partition("::")[2]: mutant for mutant in file["mutants"]}
    assert by_id["insert-detach::a"]["killedBy"] == ["cries-wolf", "sees-none"]
    assert by_id["insert-detach::a"]["coveredBy"] == ["cries-wolf", "sees-none"]
    assert by_id["flip::a"]["statusReason"] == "equivalent: no gradient changed"
    assert "honest" in by_id["double-softmax::c"]["statusReason"]
    assert by_id["swap::c"]["statusReason"] == "shapes differ"
    assert [test["id"] for test in found["testFiles"]["detectors"]["tests"]] == ["crashes", "cries-wolf", "sees-none"]


def test_a_mutant_stands_in_the_stryker_report_at_the_line_of_its_call(one: Path) -> None:
    (file,) = stryker(one)["files"].values()
    lines = file["source"].splitlines()
    assert lines[2] == "c = linear(b, c.weight, c.bias)  # block.c net.py:12"
    places = {mutant["id"].partition("::")[2]: mutant["location"]["start"]["line"] for mutant in file["mutants"]}
    assert [places[f"insert-detach::{site}"] for site in ("a", "c", "b->d")] == [1, 3, 4]
    assert places["zero-weight::a.weight"] == 1


def test_without_detectors_nothing_is_covered(tmp_path: Path) -> None:
    found = stryker(made(tmp_path, said=[]))
    (file,) = found["files"].values()
    assert {mutant["status"] for mutant in file["mutants"]} == {"NoCoverage", "Ignored", "RuntimeError"}


@given(st.text())
def test_no_text_is_a_command_in_latex(text: str) -> None:
    shown = latex_cell(text)
    bare = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}|\\[&%$#_{}]", "", shown)
    assert not re.search(r"[\\&%$#_{}~^\n]", bare)


def test_latex_has_one_table_with_booktabs_for_each(one: Path) -> None:
    (path,) = write([one], ["latex"])
    text = path.read_text(encoding="utf-8")
    assert text.count(r"\begin{tabular}") == text.count(r"\toprule") == text.count(r"\bottomrule") == 6
    assert re.search(r"^insert-detach|^block & insert-detach & ", text, re.MULTILINE)
    widths = {line.count(" & ") for line in text.split(r"\midrule")[2].split(r"\bottomrule")[0].strip().splitlines()}
    assert len(widths) == 1


def test_csv_is_read_back_and_starts_no_formula(tmp_path: Path, one: Path) -> None:
    paths = write([one], ["csv"])
    frames = {path.stem: pd.read_csv(path) for path in paths}
    assert frames["worst"].mutant.iloc[0] == "made:net::insert-detach::d"
    assert frames["unnoticed"].nobody.sum() == 1
    (path,) = write_csv({"x": pd.DataFrame({"a": ["=1+1", "@x", "fine", "-"], "b": [-1.5, 0, 1, 2]})}, tmp_path)
    assert pd.read_csv(path).a.tolist() == ["'=1+1", "'@x", "fine", "-"]
    assert pd.read_csv(path).b.tolist() == [-1.5, 0, 1, 2]


def test_json_has_the_manifest_and_every_table_without_nan(one: Path) -> None:
    (path,) = write([one], ["json"])
    found = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["manifest"]["campaign"]["model"] == "made:net"
    detectors = {row["detector"]: row for row in found["tables"]["detectors"]}
    # faults: four dead cuts, one of them of every weight; the biased use; zero-weight, which stands for three
    assert detectors["sees-none"]["recall"] == pytest.approx(4 / 8)
    assert detectors["cries-wolf"]["recall"] == pytest.approx(7 / 8)
    assert detectors["cries-wolf"]["false_alarm_rate"] == 1.0
    assert detectors["crashes"]["false_alarm_rate"] is None
    assert detectors["crashes"]["recall"] == 0.0


def test_every_format_is_written_whole_and_the_same_every_time(one: Path) -> None:
    first = {path: path.read_bytes() for path in write([one], FORMATS)}
    second = {path: path.read_bytes() for path in write([one], FORMATS)}
    assert first == second
    assert [path.name for path in one.iterdir() if path.name.startswith(".")] == []


@given(st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)))
def test_embedded_data_cannot_leave_its_element_and_is_read_back(value: object) -> None:
    text = embed(value)
    assert "<" not in text
    assert "&" not in text
    assert json.loads(text) == value


def test_what_is_no_campaign_and_no_format_is_refused_in_one_line(tmp_path: Path, one: Path) -> None:
    with pytest.raises(BadInput, match="is no campaign folder, and has none below it"):
        find([tmp_path / "nothing"])
    with pytest.raises(BadInput, match=r"there is no format 'htm'\. Did you mean 'html'"):
        write([one], ["htm"])
    with pytest.raises(BadInput, match="Add --out"):
        write([one, one])
    (one / "graph.json").write_text("[]")
    with pytest.raises(DamagedStore, match="remove that one file"):
        read(one)


@pytest.mark.parametrize(("rows", "said"), [(1, 3), (2, 0)])
def test_a_campaign_with_next_to_nothing_has_a_report_in_every_format(tmp_path: Path, rows: int, said: int) -> None:
    from report_campaigns import mutants, verdicts

    few = mutants("made:net")[:rows]
    folder = made(tmp_path, rows=few, said=verdicts(few)[:said], planned=99)
    assert all(path.stat().st_size > 0 for path in write([folder], FORMATS))


def test_a_campaign_without_a_row_is_refused_in_one_line(tmp_path: Path) -> None:
    from report_campaigns import mutants

    folder = made(tmp_path, rows=mutants("made:net")[:0], said=[], planned=99)
    with pytest.raises(BadInput, match="has no row yet"):
        write([folder])


def test_an_interrupted_campaign_says_so(tmp_path: Path) -> None:
    from gradfuzz.report.model import Model
    from gradfuzz.report.page import render
    from gradfuzz.report.reading import Campaign

    tables = gradfuzz.load(made(tmp_path))
    half = Campaign(
        type(tables)(tables.mutants.head(5), tables.parameters, tables.verdicts.head(12), {**tables.manifest, "status": "running"})
    )
    assert "5 of 11 rows are here" in render(Model(half))


def test_a_notebook_shows_loaded_tables(one: Path, tmp_path: Path) -> None:
    shown = gradfuzz.load(one)._repr_html_()
    for part in ("made:net", "sees-none", "insert-detach::d", "<table>"):
        assert part in shown
    assert "<script" not in gradfuzz.load(made(tmp_path / "h", f"made:{HOSTILE}", module=HOSTILE))._repr_html_()
