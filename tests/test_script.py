"""A script is a third oracle: run without gradfuzz, it must find what the engine measured, to the bit."""

from __future__ import annotations

import ast
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from gradfuzz.engine import Observation
from gradfuzz.engine.naive import NaiveEngine
from gradfuzz.errors import BadInput
from gradfuzz.graph.trace import TracedCase, trace
from gradfuzz.operators import find_site, operators
from gradfuzz.records import Effect, Mutant, State, Truth
from gradfuzz.script import write
from gradfuzz.script.expressions import LARGEST_LITERAL, Source, literal, no_names
from gradfuzz.subjects import Subject, providers, resolve
from gradfuzz.truth import measure

DRIVER = """
import contextlib, io, json, runpy, sys, traceback
for path in sys.argv[1:]:
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            runpy.run_path(path)
        print(json.dumps(said.getvalue().splitlines()[-1]))
    except BaseException:
        print(json.dumps(traceback.format_exc()))
print(json.dumps([name for name in sys.modules if name.split(".")[0] == "gradfuzz"]))
"""


def python(*arguments: str | Path) -> list[str]:
    """What a fresh interpreter prints, on one thread as the tests are."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", *map(str, arguments)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@cache
def traced(name: str, shape: tuple[int, ...] | None = None) -> tuple[Subject, TracedCase]:
    subject = resolve(name, shape)
    return subject, trace(subject)


@dataclass(frozen=True)
class Expected:
    """A mutant's script, and what the plain engine measures of the mutant."""

    mutant: str
    script: str
    observation: Observation
    truth: Truth


def prepare(text: str, shape: tuple[int, ...] | None = None) -> Expected:
    mutant = Mutant.parse(text)
    subject, case = traced(mutant.subject, shape)
    operator = operators[mutant.operator]
    site = find_site(operator, case, mutant)
    mutation = operator.mutate(case, site, mutant.variant)
    observation = NaiveEngine(case).observe(mutation)
    truth = measure(case, mutation, observation)
    return Expected(text, write(case, subject, operator, mutant, site, truth), observation, truth)


def first(operator: str, name: str, shape: tuple[int, ...] | None = None) -> Expected:
    """The first mutant that an operator makes of a subject."""
    return prepare(str(operators[operator].mutants(traced(name, shape)[1])[0][0]), shape)


def run_all(expected: list[Expected], folder: Path, may_load: bool = False) -> dict[str, str]:
    """Runs scripts one after the other in one interpreter: mutant -> complaint, empty where script and engine agree."""
    paths = [folder / f"script_{number}.py" for number in range(len(expected))]
    for path, one in zip(paths, expected, strict=True):
        path.write_text(one.script, "utf-8")
    driver = folder / "driver.py"
    driver.write_text(DRIVER, "utf-8")
    *said, loaded = map(json.loads, python("-P", driver, *paths))
    assert loaded == [] or may_load
    return {one.mutant: differences(line, one) for one, line in zip(expected, said, strict=True)}


def differences(line: str, expected: Expected) -> str:
    """What the last line of a script has otherwise than the engine."""
    observation, truth = expected.observation, expected.truth
    try:
        said: dict[str, Any] = json.loads(line)
    except ValueError:
        return line
    complaints = []
    if json.dumps(said["loss"]) != json.dumps(observation.loss):
        complaints.append(f"loss {said['loss']} against {observation.loss}")
    if said["effect"] not in (("dead", "vanished") if truth.effect is Effect.UNSTABLE else (truth.effect,)):
        complaints.append(f"effect {said['effect']} against {truth.effect}")
    for state in State:
        measured = [p.parameter for p in truth.parameters if p.state is state]
        if said.get(state, []) != measured:
            complaints.append(f"{state} {said.get(state)} against {measured}")
    return "; ".join(complaints)


def agree(expected: list[Expected], folder: Path, may_load: bool = False) -> None:
    complaints = {text: complaint for text, complaint in run_all(expected, folder, may_load).items() if complaint}
    assert not complaints, "\n".join(f"{text}: {complaint}" for text, complaint in complaints.items())


def every_variant() -> list[str]:
    examples = [(operator.example, len(operator.variants)) for operator in operators.values()]
    return [str(Mutant(e.subject, e.operator, e.site, number)) for e, count in examples for number in range(count)]


def test_the_script_of_every_operators_example_finds_what_the_engine_measured(tmp_path: Path) -> None:
    agree([prepare(text) for text in every_variant()], tmp_path)


def test_every_architecture_of_the_corpus_is_built_again_with_the_same_bits(tmp_path: Path) -> None:
    agree([first("insert-detach", f"corpus:{name}") for name in providers["corpus"].names() if "/" not in name], tmp_path)


@pytest.mark.parametrize("text", ["corpus:mlp::insert-detach::m1", "corpus:cnn::bypass-node::m2"])
def test_a_script_runs_by_itself_and_neither_imports_nor_needs_gradfuzz(text: str, tmp_path: Path) -> None:
    expected = prepare(text)
    path = tmp_path / "script.py"
    path.write_text(f'{expected.script}\nassert not any(name.split(".")[0] == "gradfuzz" for name in sys.modules)\n', "utf-8")
    assert differences(python(path)[-1], expected) == ""
    assert imported(expected.script).isdisjoint({"gradfuzz"})


def imported(script: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(script)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.split(".")[0] for name in plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}}


def test_cuts_of_torchvision_models(tmp_path: Path) -> None:
    cut = "torchvision:resnet18::insert-detach::maxpool->layer1_0_add"
    agree([prepare(cut), prepare("torchvision:shufflenet_v2_x0_5::no-grad-region::stage3")], tmp_path)


def test_the_random_numbers_of_the_calls_behind_a_break_stay_what_they_were(tmp_path: Path) -> None:
    layers = "[part for _ in range(3) for part in (nn.Linear(8, 8), nn.Dropout(0.5))]"
    name = write_file(tmp_path, f"def make():\n    return nn.Sequential(*{layers}), torch.randn(4, 8)")
    breaks = ("bypass-node::m1", "bypass-node::m3", "scale-tiny::m0", "no-grad-region::0")
    agree([prepare(f"{name}::{each}") for each in breaks], tmp_path)


USER = """
import random

import torch
from torch import nn

SCALE = torch.randn(8)


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.torch, self.inputs, self.relu = nn.Linear(8, 8), nn.Linear(8, 8), nn.ReLU()
        self.register_buffer("table", torch.rand(8))
        self.plain = torch.rand(8)

    def forward(self, x):
        with torch.no_grad():
            size = self.torch(x).abs().mean() + torch.tensor([1.0, 2.0]).sum()
        x = self.relu(self.torch(x * self.table + self.plain) * SCALE / size * random.random())
        return self.inputs(x)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = Tiny(), nn.Conv1d(1, 3, 3)

    def forward(self, x):
        return {"a": self.one(x), "b": (self.other(x.unsqueeze(1)), x.argmax(1))}


"""


def write_file(folder: Path, function: str, stem: str = "own") -> str:
    """A user's file with one more function ``make``, by the name of its subject."""
    path = folder / f"{stem}.py"
    path.write_text(USER + function, "utf-8")
    return f"{path}:make"


FORMS = {
    "pair": "return Tiny(), torch.randn(4, 8)",
    "keywords": "return Tiny(), {'x': torch.randn(4, 8)}",
    "triple": "return Tiny(), (torch.randn(4, 8), torch.randn(4, 8)), nn.MSELoss()",
    "loss_of_the_output": "return Tiny(), [torch.randn(4, 8)], lambda output: output.square().mean()",
    "closure": "weight = torch.rand(8)\n"
    "    return Tiny(), (torch.randn(4, 8), torch.randint(0, 8, (4,))), lambda o, t: nn.functional.cross_entropy(o, t, weight)",
    "several_outputs": "return Two(), torch.randn(4, 8)",
}


def test_a_users_file_is_built_again_in_whatever_form_it_comes(tmp_path: Path) -> None:
    expected = []
    for number, (stem, body) in enumerate(FORMS.items()):
        name = write_file(tmp_path, f"def make():\n    {body}", stem)
        operator = ("insert-detach", "zero-weight", "remove-detach", "flip-requires-grad-input")[number % 4]
        expected.append(first(operator, name))
    agree(expected, tmp_path)


def test_a_bare_model_and_a_module_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path, "def make():\n    return Tiny()", "bare")
    fixed = USER.replace("SCALE = torch.randn(8)", "SCALE = 1.5")  # a module is imported once, so that what it draws is not drawn again
    (tmp_path / "importable.py").write_text(f"{fixed}def make():\n    return Tiny(), torch.randn(4, 8)", "utf-8")
    monkeypatch.chdir(tmp_path)
    agree([first("insert-detach", "bare.py:make", (4, 8)), first("insert-detach", "importable:make")], tmp_path)


def test_a_users_case_needs_gradfuzz_only_because_the_users_file_does(tmp_path: Path) -> None:
    made = "from gradfuzz import Case\n\n    return Case(Tiny(), (torch.randn(4, 8), torch.randn(4, 8)), nn.functional.mse_loss)"
    expected = first("insert-detach", write_file(tmp_path, f"def make():\n    {made}"))
    assert imported(expected.script).isdisjoint({"gradfuzz"})
    agree([expected], tmp_path, may_load=True)


def test_a_provider_without_source_is_refused() -> None:
    subject, case = traced("corpus:mlp")
    mute = Subject(subject.name, replace(subject.provider, code=None), subject.target)
    operator = operators["insert-detach"]
    mutant, site = operator.mutants(case)[0]
    with pytest.raises(BadInput, match="does not say how to build it"):
        write(case, mute, operator, mutant, site)


def test_values_print_as_source_that_gives_them_back() -> None:
    values = [
        1,
        -2.5,
        math.inf,
        None,
        True,
        "it's",
        'a "b"',
        "back\\slash",
        [1, (2,), ()],
        {"k": slice(1, None, 2)},
        torch.float16,
        ...,
        torch.device("cpu"),
    ]
    source = Source()
    assert [eval(source.value(value, no_names)) for value in values] == values
    exact = torch.tensor([[0.1, math.pi], [1e-45, -math.inf]])
    assert torch.equal(eval(literal(exact)), exact)


def test_what_has_no_source_is_refused_with_what_to_do() -> None:
    for thing in (lambda value: value, object(), torch.zeros(LARGEST_LITERAL + 1)):
        with pytest.raises(BadInput, match=r"move it to the top|let the operator use|replay the mutant"):
            Source().value(thing, no_names)
