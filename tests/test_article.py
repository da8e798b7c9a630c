"""docs/article.md is run as it stands: each program in it, and each of the four causes that the article names.

A python block that begins with ``# name.py`` is saved as that file; any other is run, and must print the text block that follows it.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

import gradfuzz
from gradfuzz.records import Cause, Effect, State, Truth
from gradfuzz.subjects import resolve

PAGE = Path(__file__).parent.parent / "docs" / "article.md"
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Program:
    title: str
    code: str
    output: str


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(heading above it, language, content) of each fenced block."""
    found = []
    for match in FENCED.finditer(page):
        headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page[: match.start()]), re.MULTILINE)
        found.append((headings[-1] if headings else "", match[1], match[2]))
    return found


def files(page: str) -> dict[str, str]:
    """The blocks that are files, by name."""
    named = [(re.match(r"# (\w+\.py)\n", code), code) for _, language, code in blocks(page) if language == "python"]
    return {match[1]: code for match, code in named if match}


def programs(page: str) -> list[Program]:
    """The blocks that run, each with the text block that has to follow it."""
    found, listed = [], blocks(page)
    for (title, language, code), following in zip(listed, [*listed[1:], ("", "", "")], strict=True):
        if language == "python" and code not in files(page).values():
            assert following[1] == "text", f"the program under '{title}' has no output below it"
            found.append(Program(title, code, following[2]))
    return found


PROGRAMS = programs(PAGE.read_text(encoding="utf-8"))


@pytest.fixture
def beside_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the page's own files, as a reader would have it."""
    for name, code in files(PAGE.read_text(encoding="utf-8")).items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "gradients", raising=False)


def printed(code: str) -> str:
    """What a program prints; a warning in it is an error."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings():
        exec(compile(code, str(PAGE), "exec"), {"__name__": "__main__"})
    return out.getvalue()


@pytest.mark.usefixtures("beside_the_page")
@pytest.mark.parametrize("program", PROGRAMS, ids=[program.title for program in PROGRAMS])
def test_a_program_on_the_page_prints_what_the_page_says(program: Program) -> None:
    assert printed(program.code) == program.output


def test_the_page_has_all_its_programs() -> None:
    assert len(PROGRAMS) == 6
    assert {"gradients.py", "examples.py"} == set(files(PAGE.read_text(encoding="utf-8")))


def test_a_wrong_number_on_a_page_is_found() -> None:
    page = "# A\n\n```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n"
    assert [(program.title, printed(program.code) == program.output) for program in programs(page)] == [("A", False)]


def test_a_program_without_output_is_found() -> None:
    with pytest.raises(AssertionError, match="has no output"):
        programs("# A\n\n```python\nprint(1)\n```\n")


def test_the_commands_on_the_page_run() -> None:
    commands = [code.strip() for _, language, code in blocks(PAGE.read_text(encoding="utf-8")) if language == "sh"]
    assert commands
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "gradfuzz"
        done = subprocess.run([sys.executable, "-m", "gradfuzz", *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout


@pytest.mark.usefixtures("beside_the_page")
@pytest.mark.parametrize(("name", "seen"), [("first", "9.76 1.20"), ("second", "4.39 0.40 0.42 0.89")])
def test_gradfuzz_builds_the_programs_of_the_page_with_the_same_bits(name: str, seen: str) -> None:
    case = resolve(f"examples.py:{name}").build(0)
    inputs, target = case.batch
    case.loss_fn(case.model(*inputs), target).backward()
    found = [p.grad for p in case.model.parameters()]
    assert " ".join(f"{g.abs().sum():.2f}" for g in found if g is not None) == seen


# --- the four causes that the article names, each measured


def truth(mutant: str) -> Truth:
    return gradfuzz.observe(mutant).truth


def states(found: Truth) -> set[State]:
    return {parameter.state for parameter in found.parameters}


@pytest.mark.parametrize("variant", ["", "#1"])
def test_requires_grad_of_the_data_matters_to_no_parameter(variant: str) -> None:
    found = truth(f"corpus:mlp::flip-requires-grad-input::inputs_0{variant}")
    assert (found.effect, found.parameters, found.loss_changed) == (Effect.EQUIVALENT, (), False)


def test_requires_grad_of_a_parameter_kills_that_parameter_alone() -> None:
    found = truth("corpus:mlp::flip-requires-grad-parameter::0.weight")
    assert (found.effect, found.cause, found.invisible) == (Effect.DEAD, Cause.CUT, True)
    assert [(p.parameter, p.state) for p in found.parameters] == [("0.weight", State.MISSING)]


def test_detach_leaves_none_behind_and_not_zeros() -> None:
    found = truth("corpus:mlp::insert-detach::m0")
    assert (found.effect, found.cause, found.invisible) == (Effect.DEAD, Cause.CUT, True)
    assert states(found) == {State.MISSING}


def test_a_detach_of_the_output_raises_in_backward_and_is_not_silent() -> None:
    found = truth("corpus:mlp::insert-detach::m4")
    assert (found.effect, found.silent) == (Effect.RAISES, False)
    assert "element 0 of tensors does not require grad and does not have a grad_fn" in found.error


@pytest.mark.parametrize("mutant", ["corpus:mlp::no-grad-region::0", "corpus:transformer::no-grad-region::blocks.0"])
def test_a_cut_hidden_in_a_layer_is_silent_where_something_else_still_learns(mutant: str) -> None:
    found = truth(mutant)
    assert (found.effect, found.cause, found.faithful, found.invisible) == (Effect.DEAD, Cause.CUT, False, True)
    assert State.MISSING in states(found)


@pytest.mark.usefixtures("beside_the_page")
def test_underflow_kills_without_a_word_and_float64_knows_better() -> None:
    found = truth("examples.py:fourth::underflow-cast::m0")
    assert (found.effect, found.cause, found.faithful, found.silent) == (Effect.DEAD, Cause.UNDERFLOW, False, True)
    assert [p.parameter for p in found.parameters if p.state is State.ZERO] == ["0.weight", "0.bias"]


@pytest.mark.parametrize(
    ("mutant", "effect", "cause"),
    [
        ("corpus:mlp::underflow-cast::m0#1", Effect.ALTERED, Cause.UNDERFLOW),
        ("corpus:mlp::scale-tiny::m1", Effect.VANISHED, Cause.CHANGED),
        ("corpus:gru::saturate::tanh", Effect.ALTERED, Cause.CHANGED),
    ],
)
def test_small_numbers_do_not_warn_and_each_has_the_label_that_was_measured(mutant: str, effect: Effect, cause: Cause) -> None:
    found = truth(mutant)
    assert (found.effect, found.cause, found.silent) == (effect, cause, True)
