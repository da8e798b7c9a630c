"""``gradfuzz fuzz``: what it prints, what it keeps, and what it exits with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gradfuzz import cli
from gradfuzz.cli.fuzz import seconds
from gradfuzz.errors import BadInput
from gradfuzz.fuzzing import corpus
from gradfuzz.graph.flow import Cut, Flow


def gradfuzz(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["gradfuzz", "fuzz", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_what_a_detector_misses_is_a_result_printed_with_its_script(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert gradfuzz(monkeypatch, "--target", "detector:grad-none", "--cases", 4, "--time", "10m", "--out", tmp_path, "--json") == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert summary["cases"] == 4
    assert summary["finds"]
    for find in summary["finds"]:
        script = tmp_path / f"{find['name']}.py"
        assert script.read_text("utf-8") in printed.err
        assert corpus.read(script.with_suffix(".json")).name == find["name"]
        assert find["status"] == "blind spot"


def test_nothing_found_is_success_and_says_how_many_cases_the_gate_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert gradfuzz(monkeypatch, "--target", "structure", "--cases", 6, "--out", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "of 6 cases did not pass the baseline gate" in printed
    assert "0 finds" in printed
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_gradfuzz_exits_with_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr(Flow, "cut", lambda flow, value, user="": Cut(value, user, 0, 0))
    assert gradfuzz(monkeypatch, "--target", "structure", "--cases", 4, "--out", tmp_path) == 1
    assert "predicted otherwise" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--target", "engine"), "there is no target 'engine'"),
        (("--target", "detector:nobody"), "there is no detector 'nobody'"),
        (("--time", "soon"), "'soon' is no time"),
        (("--time", "0s"), "'0s' is no time"),
        (("--cases", "0"), "--cases"),
    ],
)
def test_bad_input_is_one_line_and_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert gradfuzz(monkeypatch, *arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert says in printed.err
    assert printed.err.count("\n") == 1


def test_a_time_has_a_unit_or_is_in_seconds() -> None:
    assert [seconds(text) for text in ("60s", "5m", "1h", "1.5m", "90")] == [60.0, 300.0, 3600.0, 90.0, 90.0]
    with pytest.raises(BadInput):
        seconds("infs")
