"""Mutants of the training program, as lines to look at and as standalone scripts."""

from __future__ import annotations

import ast
from textwrap import indent

from gradfuzz.errors import BadInput
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators.case_building import FUNCTIONS, closes_over_state
from gradfuzz.operators.case_draft import CaseMutation
from gradfuzz.operators.training import Training
from gradfuzz.records import Mutant
from gradfuzz.script import program
from gradfuzz.script.expressions import Source, quoted
from gradfuzz.subjects import Subject
from gradfuzz.subjects.case import Case

Lines = list[str]


def excerpt(mutation: CaseMutation) -> tuple[Lines, Lines]:
    """Those sections of the two training programs that differ, whole: where a line stands says as much as what it is."""
    right, broken = mutation.right.sections(), mutation.broken.sections()
    found: tuple[Lines, Lines] = ([], [])
    for name in dict.fromkeys((*broken, *right)):
        if right.get(name) != broken.get(name):
            found[0].extend(_around_optimizer(name, right))
            found[1].extend(_around_optimizer(name, broken))
    return found


def _around_optimizer(name: str, sections: dict[str, Lines]) -> Lines:
    """A section, with the making of the optimizer where that is what it is before or after."""
    if name == "before":
        return [*sections.get("before", []), sections["optimizer"][-1]]
    return [sections["optimizer"][-1], *sections.get("after", [])] if name == "after" else sections.get(name, [])


def write(traced: TracedCase, subject: Subject, mutation: CaseMutation, mutant: Mutant, docstring: str) -> str:
    """A script that trains the right and the broken program and prints one line of JSON last, as those of other mutants do.

    Raises ``BadInput`` where there is no plain code for a part of the case.
    """
    if subject.provider.code is None:
        raise BadInput(f"no script for {subject.name}: its provider '{subject.provider.name}' does not say how to build it in plain code")
    building = subject.provider.code(subject.target, traced.seed, subject.input_shape)
    source = Source()
    for name in sorted(_called(mutation.right) | _called(mutation.broken)):
        source.callee(FUNCTIONS[name])
    if taken := set(source.helpers) & _defined(building):
        raise BadInput(f"no script for {mutant}: the subject's code has a '{min(taken)}' of its own, rename it")
    device = next(iter(traced.leaves.values())).device
    if device.type != "cpu":
        raise BadInput(f"no script for {mutant} on {device}: scripts of training programs run on the CPU, leave out --device")
    imports = {"import copy", "import json", "import math", "import sys", "import traceback", "import torch", *source.imports}
    imports.add("from torch.optim.optimizer import register_optimizer_step_pre_hook")
    parts = [
        docstring + "\n\nfrom __future__ import annotations\n\n" + "\n".join(sorted(imports, key=lambda line: ("torch" in line, line))),
        f"SEED = {traced.seed}\nLIVE = [{', '.join(map(quoted, traced.live))}]  # parameters with a live gradient",
        f"# ---- the training case ----\n\ntorch.manual_seed(SEED)\n{building.strip()}",
        _rest_of_case(traced.case, building, mutant),
        "# ---- what the programs call ----" if source.helpers else "",
        *source.helpers.values(),
        "# ---- the training program, right and broken ----",
        _function("right", mutation.right),
        _function("broken", mutation.broken),
        program.RUN.format(reseed="seed_all()" if "\ndef seed_all(" in building else "torch.manual_seed(SEED)"),
        program.COMPARISON.format(
            same=traced.thresholds.same,
            vanished=traced.thresholds.vanished,
            difference=traced.thresholds.difference,
            moved=traced.thresholds.moved,
        ),
    ]
    return "\n\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _called(training: Training) -> set[str]:
    """The functions of ours that a program names."""
    text = "\n".join(line for lines in training.sections().values() for line in lines)
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)} & set(FUNCTIONS)


def _defined(code: str) -> set[str]:
    """Names that code binds at its top."""
    nodes = list(ast.walk(ast.parse(code)))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return bound | {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def _rest_of_case(case: Case, building: str, mutant: Mutant) -> str:
    """What a case has beside model, batch and loss: the optimizer, the author's own step."""
    plain = Case.__dataclass_fields__["make_optimizer"].default
    known = "case" in _defined(building)
    if closes_over_state(case):
        raise BadInput(f"no script for {mutant}: its loss, optimizer or step holds a module of its own, which two runs would share")
    if not known and (case.make_optimizer is not plain or case.train_step is not None):
        raise BadInput(f"no script for {mutant}: nothing says in plain code how its optimizer or its step is made")
    optimizer = "case.make_optimizer" if case.make_optimizer is not plain else "lambda parameters: torch.optim.SGD(parameters, lr=0.01)"
    step = "case.train_step" if case.train_step is not None else "None"
    names = ", ".join(map(quoted, case.trainable))
    return f"trainable = [{names}]\nmake_optimizer = {optimizer}\nauthors_step = {step}"


def _function(name: str, training: Training) -> str:
    """A program as a function of fresh parts that gives back what is needed for its steps."""
    sections = training.sections()
    order = ("data", "before", "optimizer", "after")
    lines = [line for part in order for line in sections.get(part, [])]
    step = ["", *sections["step"], ""] if "step" in sections else ["train_step = authors_step"]
    return "\n".join(
        [f"def {name}(model, batch):", indent("\n".join([*lines, *step, "return model, batch, optimizer, train_step"]), "    ")]
    )
