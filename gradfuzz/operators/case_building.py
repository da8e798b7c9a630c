"""From the text of a training program to a live case that it trains."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from gradfuzz.graph.execution import EXPECTED
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import case_functions
from gradfuzz.operators.training import HEADER, OPTIMIZER, Training
from gradfuzz.subjects.case import Batch, Case

SMALL = 1_000_000
"""Elements of all parameters up to which a case is built anew, as its author would; a larger one is copied, which is quicker."""
Listen = Callable[[Callable[[Any, Any], Tensor]], Callable[[Any, Any], Tensor]]
FUNCTIONS = {name: item for name, item in vars(case_functions).items() if getattr(item, "__module__", "") == case_functions.__name__}


def assemble(traced: TracedCase, training: Training, listen: Listen | None = None) -> Case:
    """A fresh case that is trained by a program. What making its optimizer raises comes out where the optimizer is asked for.

    listen: ``listen(loss_fn)`` is the loss function that the program gets.
    """
    case = fresh_case(traced)
    loss_fn = listen(case.loss_fn) if listen else case.loss_fn
    space: dict[str, Any] = {**FUNCTIONS, "torch": torch, "model": case.model, "loss_fn": loss_fn, "trainable": case.trainable}
    space["make_optimizer"] = case.make_optimizer
    read, make_batch = partial(_read, training.data, space), case.make_batch
    if training.data:
        make_batch = lambda k: read(case.batches(k + 1, traced.seed)[k])  # noqa: E731
    batch = read(case.batch)
    _run(training.before, space)
    optimizer: torch.optim.Optimizer | Exception
    try:
        _run((*OPTIMIZER, *training.after), space)
        optimizer = space["optimizer"]
    except EXPECTED as error:
        optimizer = error
    train_step = case.train_step
    if training.step:
        _run(training.sections()["step"], space)
        train_step = space[HEADER.removeprefix("def ").partition("(")[0]]
    model = space["model"]
    names = {name for name, _ in model.named_parameters()}
    known = names | {name for name, _ in model.named_modules()}
    return replace(
        case,
        model=model,
        batch=batch,
        loss_fn=space["loss_fn"],
        make_optimizer=lambda _: _optimizer(optimizer),
        trainable=tuple(name for name in case.trainable if name in names),
        intended={name: reason for name, reason in case.intended.items() if name in known},
        make_batch=make_batch,
        train_step=train_step,
    )


def _optimizer(made: torch.optim.Optimizer | Exception) -> torch.optim.Optimizer:
    if isinstance(made, Exception):
        raise made
    return made


def _run(lines: tuple[str, ...] | list[str], space: dict[str, Any]) -> None:
    exec(compile("\n".join(lines), "<training program>", "exec"), space)  # the program is text, so that what is shown is what runs


def _read(lines: tuple[str, ...], space: dict[str, Any], batch: Batch) -> Batch:
    """A batch after the lines about the data."""
    inside = {**space, "batch": batch}
    _run(lines, inside)
    found: Batch = inside["batch"]
    return found


def fresh_case(traced: TracedCase) -> Case:
    """The case of a subject once more, sharing nothing with the traced one: built anew, or copied if it is large."""
    if traced.rebuild is not None and (not is_large(traced.case) or closes_over_state(traced.case)):
        return traced.rebuild()
    return copy.deepcopy(traced.case)


def is_large(case: Case) -> bool:
    return sum(parameter.numel() for parameter in case.model.parameters()) > SMALL


def closes_over_state(case: Case) -> bool:
    """Whether a function of the case holds a module, optimizer or trained tensor of its own, which a copy of the case would share."""
    waiting: list[Any] = [case.loss_fn, case.make_optimizer, case.train_step, case.make_batch]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, (nn.Module, torch.optim.Optimizer)) or (isinstance(item, Tensor) and item.requires_grad):
            return True
        if isinstance(item, partial):
            waiting += [item.func, *item.args, *item.keywords.values()]
        elif isinstance(item, FunctionType):
            waiting += [cell.cell_contents for cell in item.__closure__ or () if _filled(cell)]
            waiting += item.__defaults__ or ()
        elif isinstance(item, (list, tuple)):
            waiting += item
        elif isinstance(item, dict):
            waiting += item.values()
    return False


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
