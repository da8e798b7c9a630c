"""What README.md, CONTRIBUTING.md and docs/truth.md show, run: commands, files, outputs, numbers. docs/article.md has a test of its own."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import gradfuzz
from gradfuzz import detectors
from gradfuzz.api import trace
from gradfuzz.operators import find_site, operators
from gradfuzz.records import Cause, Effect, Mutant, State, Thresholds
from gradfuzz.subjects import providers, resolve

ROOT = Path(__file__).parent.parent
README, CONTRIBUTING, TRUTH = (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "docs/truth.md"))
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = [sys.executable, "-W", "error"]


def blocks(page: Path, language: str) -> list[str]:
    return [match[2] for match in FENCED.finditer(page.read_text(encoding="utf-8")) if match[1] == language]


def file(page: Path, name: str) -> str:
    return next(code for code in blocks(page, "python") if code.startswith(f"# {name}\n"))


def lines(text: str) -> str:
    """Without the blanks that pad a table to the right."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder)


def test_the_two_commands_that_ci_runs_stand_first_and_as_agreed() -> None:
    page = README.read_text(encoding="utf-8")
    install = "python3 -m venv .venv && . .venv/bin/activate && pip install -c constraints.txt"
    for marker, command in (
        ("install-and-run", f"{install} . && gradfuzz run --model resnet18"),
        ("install-and-test", f"{install} -e '.[dev]' && pytest"),
    ):
        assert f"<!-- {marker} -->\n```sh\n{command}\n```\n" in page
    assert page.index("install-and-test") < page.index("gradfuzz takes")


@pytest.mark.slow
def test_the_commands_of_the_readme_run_and_print_what_it_shows(tmp_path: Path) -> None:
    (tmp_path / "my_model.py").write_text(file(README, "my_model.py"), encoding="utf-8")
    commands = [line for block in blocks(README, "sh")[2:] for line in block.splitlines()]
    printed = {}
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "gradfuzz"
        done = run([*PYTHON, "-m", "gradfuzz", *words], tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        printed[command] = done.stdout
    campaign, reading = blocks(README, "text")
    assert lines(printed[commands[0]]) == lines(campaign)
    script = next(code for code in blocks(README, "python") if "gradfuzz.load" in code)
    assert lines(run([*PYTHON, "-c", script], tmp_path).stdout) == lines(reading)


@pytest.mark.parametrize(
    ("returned", "shape"), [("made", None), ("(made[0], made[1][0])", None), ("made[0]", (16, 20)), ("gradfuzz.Case(*made)", None)]
)
def test_what_a_users_function_may_return_is_what_the_readme_says(tmp_path: Path, returned: str, shape: tuple[int, ...] | None) -> None:
    code = f"import gradfuzz\n{file(README, 'my_model.py')}\ndef other():\n    made = make()\n    return {returned}\n"
    (tmp_path / "my_model.py").write_text(code, encoding="utf-8")
    case = resolve(f"{tmp_path}/my_model.py:other", shape).build(0)
    assert sum(p.numel() for p in case.model.parameters()) == 804


def test_the_readme_names_every_effect_and_every_public_function() -> None:
    page = README.read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page.partition("\n## Effects")[2], re.MULTILINE) == list(Effect)
    assert all(name in page for name in gradfuzz.__all__ if name.islower() and name not in ("operator", "detector", "subject"))


def test_the_page_on_truth_explains_every_label() -> None:
    page = TRUTH.read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    for label in (*State, *Effect, *filter(None, Cause)):
        assert label in explained
    names = [threshold.name for threshold in dataclasses.fields(Thresholds)]
    assert re.findall(r"^\| `(\w+)` \| ([-\de.]+) \|", page, re.MULTILINE) == [(n, str(getattr(Thresholds(), n))) for n in names]


def test_the_operator_of_the_guide_works_and_keeps_its_word() -> None:
    assert len(file(CONTRIBUTING, "negate.py").splitlines()) == 13  # its name and twelve lines
    exec(file(CONTRIBUTING, "negate.py"), {})
    try:
        operator = operators["negate-value"]
        case = trace("corpus:mlp")
        assert find_site(operator, case, operator.example)
        found = {gradfuzz.observe(mutant).truth.effect for mutant in gradfuzz.plan("corpus:mlp", ["negate-value"])[1:]}
        assert found <= operator.may
        assert gradfuzz.observe(operator.example).truth.effect == Effect.ALTERED
    finally:
        operators.remove("negate-value")


def test_the_detector_of_the_guide_flags_what_it_says() -> None:
    exec(file(CONTRIBUTING, "large.py"), {})
    try:
        judge = detectors.detectors["grad-norm-above-1000"].function
        assert judge(detectors.Evidence({"a": 2000.0, "b": None, "c": 1.0}, frozenset(), 1.0)).suspects == ("a",)
    finally:
        detectors.detectors.remove("grad-norm-above-1000")


def test_the_subject_of_the_guide_can_be_broken() -> None:
    exec(file(CONTRIBUTING, "mine.py"), {})
    try:
        assert Mutant("mine:case", "insert-detach", "linear") in gradfuzz.plan("mine:case", ["insert-detach"])
    finally:
        providers.remove("mine")
