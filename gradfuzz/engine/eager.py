"""Measuring a plain eager case: what its optimizer is given, and whether that moves the parameters. No graph, so any training step will do.

Two sides of a fault are compared by ``outcome``: the fixed one is the reference, as the unmutated subject is for a mutant.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from gradfuzz.engine import compare
from gradfuzz.graph.execution import EXPECTED, first_line
from gradfuzz.isolation import isolated, texts
from gradfuzz.records import LOST, Effect, State, Thresholds
from gradfuzz.subjects.case import Case

STEPS = 3
"""Training steps of an observation; the gradients are those of the first."""
SEVERED = "does not require grad and does not have a grad_fn"
_TORCH = str(Path(torch.__file__).parent)
_BACKWARD = {("_tensor.py", "backward"), ("__init__.py", "backward"), ("__init__.py", "grad")}


class Stages(Protocol):
    """What says where a case raised, and how."""

    stage: str
    error: str


@dataclass
class EagerPass:
    """What some training steps of a case gave.

    loss, gradients: of the first step; NaN and nothing where it raised before. The gradients are those that the last ``optimizer.step()``
    found, or that were there after the step if it called none; None where there was none. moved: the parameters that an
    ``optimizer.step()`` changed, in any step. stage: where it raised, ``optimizer`` (making one), ``forward``, ``backward`` or ``step``,
    else "". severed: the loss does not require grad, so that backward had no way to go.
    """

    loss: float = math.nan
    gradients: dict[str, Tensor | None] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    warnings: frozenset[str] = frozenset()
    stage: str = ""
    error: str = ""
    severed: bool = False


def locate(model: nn.Module, name: str) -> Tensor | None:
    """The tensor that a parameter's name leads to, registered or not: ``layers.0.weight`` is found in a plain list too."""
    found: Any = model
    for part in name.split("."):
        if isinstance(found, (list, tuple)):
            found = found[int(part)] if part.isdigit() and int(part) < len(found) else None
        else:
            found = found.get(part) if isinstance(found, dict) else getattr(found, part, None)
    return found if isinstance(found, Tensor) else None


def observe_case(
    case: Case, seed: int, names: Iterable[str] | None = None, steps: int = STEPS, inside: AbstractContextManager[Any] | None = None
) -> EagerPass:
    """Train a freshly built case for some steps on its first batch, in isolation. The case is used up: its parameters have moved.

    names: of the parameters to look at, those that the case wants trained unless given. inside: a context in which all of it runs.
    """
    done, watcher = EagerPass(), _Watcher(case.model, tuple(case.trainable if names is None else names))
    handles = [register_optimizer_step_pre_hook(watcher.before), register_optimizer_step_post_hook(watcher.after)]
    with isolated(seed) as caught, inside or nullcontext():
        try:
            optimizer = optimizer_of(case, done)
            for number in range(steps):
                watcher.begin()
                _step(case, optimizer, done, number == 0)
                watcher.end()
                if number == 0:
                    done.gradients = dict(watcher.gradients)
        except EXPECTED as error:
            done.stage, done.error = stage_of(error), first_line(error)
            done.severed = SEVERED in str(error)
            if done.stage == "step" and not done.gradients:
                watcher.end()
                done.gradients = dict(watcher.gradients)
        finally:
            for handle in handles:
                handle.remove()
        done.warnings = texts(caught)
    done.moved = watcher.moved
    return done


def optimizer_of(case: Case, done: Stages) -> Optimizer | None:
    """The case's optimizer; None where making it raises, which ``done`` then says."""
    try:
        return case.optimizer()
    except EXPECTED as error:  # it refuses the parameters; forward and backward still show what becomes of the gradients
        done.stage, done.error = "optimizer", first_line(error)
        return None


def _step(case: Case, optimizer: Optimizer | None, done: EagerPass, first: bool) -> None:
    """One step as ``Case.step`` does it, with the loss kept as soon as it is known."""
    if case.train_step is not None and optimizer is not None:
        loss = case.step(optimizer)
        done.loss = float(loss.detach()) if first else done.loss
        return
    if optimizer is not None:
        optimizer.zero_grad()
    loss = case.loss()
    done.loss = float(loss.detach()) if first else done.loss
    loss.backward()
    if optimizer is not None:
        optimizer.step()


def stage_of(error: BaseException) -> str:
    """``forward``, ``backward`` or ``step``: told from the frames inside torch, since an author's own training step is one call for us."""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(_TORCH):
            path = Path(frame.filename)
            if (path.name, frame.name) in _BACKWARD and path.parent.name in ("torch", "autograd"):
                return "backward"
            if path.parent.name in ("optim", "amp") or path.name == "clip_grad.py":
                return "step"
    return "forward"


class _Watcher:
    """Looks at the parameters before and after each call of any optimizer's ``step``."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        self._model, self._names = model, names
        self.gradients: dict[str, Tensor | None] = {}
        self.moved: set[str] = set()
        self._owned: set[str] = set()
        self._values: dict[str, Tensor] = {}
        self._stepped = False

    def begin(self) -> None:
        self._stepped = False
        self._remember()

    def end(self) -> None:
        if not self._stepped:
            self.gradients = {name: gradient_of(locate(self._model, name)) for name in self._names}
            self._note_moves()

    def before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._stepped = True
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for name in self._names:
            tensor = locate(self._model, name)
            own = id(tensor) in held
            if own or name not in self._owned:  # with two optimizers, each knows its own best
                self.gradients[name] = gradient_of(tensor)
            if own:
                self._owned.add(name)
        self._remember()

    def after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._note_moves()

    def _remember(self) -> None:
        found = {name: locate(self._model, name) for name in self._names}
        self._values = {name: tensor.detach().clone() for name, tensor in found.items() if tensor is not None}

    def _note_moves(self) -> None:
        for name, old in self._values.items():
            new = locate(self._model, name)
            if new is not None and not torch.equal(new.detach(), old):
                self.moved.add(name)


def gradient_of(tensor: Tensor | None) -> Tensor | None:
    """A copy of what autograd has put there; reading it off a tensor that is no leaf would only warn."""
    if tensor is None or not (tensor.is_leaf or tensor.retains_grad) or tensor.grad is None:
        return None
    return tensor.grad.detach().to_dense().clone() if tensor.grad.is_sparse else tensor.grad.detach().clone()


@dataclass(frozen=True)
class Outcome:
    """What one side of a fault did against the other; the fields as in ``gradfuzz.subjects.bugs.Bug``."""

    effect: Effect
    measured: Mapping[str, State]
    stuck: tuple[str, ...]
    silent: bool
    loss_same: bool


def live(gradient: Tensor | None) -> bool:
    """Whether there is something to learn from."""
    return gradient is not None and bool(gradient.any())


def outcome(fixed: EagerPass, buggy: EagerPass, limits: Thresholds) -> Outcome:
    """States against the fixed side, and the effect. A parameter that learns nothing on either side is the same."""
    states: dict[str, State] = {}
    for name, reference in fixed.gradients.items():
        gradient = buggy.gradients.get(name)
        found = compare(gradient, reference, limits) if live(reference) or live(gradient) else None
        if found is not None and found.state is not State.SAME:
            states[name] = found.state
    if buggy.stage in ("forward", "backward") and not buggy.gradients:
        states = {}
    moving = [name for name in fixed.gradients if name in fixed.moved and live(buggy.gradients.get(name))]
    stuck = tuple(name for name in moving if name not in buggy.moved and states.get(name) not in LOST)
    silent = not buggy.stage and buggy.warnings <= fixed.warnings
    return Outcome(_effect(buggy, set(states.values()), stuck), states, stuck, silent, buggy.loss == fixed.loss)


def effect_of(fixed: EagerPass, buggy: EagerPass, limits: Thresholds | None = None) -> Effect:
    """The effect of a fault, worst first, exactly one."""
    return outcome(fixed, buggy, limits or Thresholds()).effect


def _effect(buggy: EagerPass, states: set[State], stuck: tuple[str, ...]) -> Effect:
    if buggy.stage in ("forward", "backward"):
        return Effect.INVALID if buggy.stage == "forward" else Effect.RAISES
    if State.NONFINITE in states or not math.isfinite(buggy.loss):
        return Effect.NONFINITE
    if states & {State.MISSING, State.ZERO}:
        return Effect.DEAD
    if State.VANISHED in states:
        return Effect.VANISHED
    if states:
        return Effect.ALTERED
    return Effect.STUCK if stuck else Effect.EQUIVALENT
