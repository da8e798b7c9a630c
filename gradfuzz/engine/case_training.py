"""Training a live case for some steps, and looking at it just before every step of an optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from gradfuzz.engine.eager import SEVERED, gradient_of, locate, optimizer_of, stage_of
from gradfuzz.graph.execution import EXPECTED, first_line
from gradfuzz.graph.trace import norm
from gradfuzz.isolation import isolated, texts
from gradfuzz.operators.case_building import Listen
from gradfuzz.subjects.case import Case

STEPS = 2
"""Training steps, all on the first batch. The second shows what is left over from the first: gradients that were not cleared, weights that
did not move, a cache."""
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}

Gradients = dict[str, Tensor | None]


@dataclass(frozen=True)
class Look:
    """What an optimizer was about to use. weights: the sum of the bits of each parameter. losses: what the loss function has given since
    the last look."""

    gradients: Gradients
    weights: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass
class Trained:
    """Some training steps. A step in which no optimizer stepped has one look, at its end.

    weights: after the last step, as in ``Look``. losses: what each step returned. evidence: what a checker can see of the first step, as
    ``gradfuzz.detectors.Evidence`` wants it. shift: how far each parameter went from the first look on. Other fields as in ``EagerPass``.
    """

    looks: list[Look] = field(default_factory=list)
    weights: tuple[int, ...] = ()
    losses: list[float] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)
    shift: dict[str, Tensor] = field(default_factory=dict)
    warnings: frozenset[str] = frozenset()
    stage: str = ""
    error: str = ""
    severed: bool = False


def train(make: Callable[[Listen], Case], names: Iterable[str], seed: int, enough: Callable[[list[Look]], bool]) -> Trained:
    """Some steps of a fresh case, in isolation.

    make: builds it, with the loss function to be passed through what it is given. names: of the parameters to look at. enough: is told
    all looks so far after each step, and says whether to stop.
    """
    done, watcher = Trained(), _Watcher(tuple(names))
    with isolated(seed) as caught_before:
        case = watcher.case = make(watcher.listen)
    seen = _seen(case)
    handle = register_optimizer_step_pre_hook(watcher.look)
    with isolated(seed) as caught:
        try:
            optimizer = watcher.optimizer = optimizer_of(case, done)
            for number in range(STEPS):
                watcher.stepped = False
                loss = _step(case, optimizer)
                done.losses.append(float(loss.detach()))
                if not watcher.stepped:
                    watcher.look(optimizer)
                if number == 0:
                    done.evidence = {**seen, "norms": watcher.norms(), "loss": done.losses[0]}
                if enough(watcher.looks) or optimizer is None:
                    break
        except EXPECTED as error:
            done.stage, done.error, done.severed = stage_of(error), first_line(error), SEVERED in str(error)
            enough(watcher.looks)
        finally:
            handle.remove()
        done.warnings = texts(caught) | texts(caught_before)
    done.looks, done.weights, done.shift = watcher.looks, watcher.weights(), watcher.shift()
    return done


def _seen(case: Case) -> dict[str, Any]:
    """What a checker sees of a case before it runs."""
    parameters = dict(case.model.named_parameters())
    frozen = frozenset(name for name, p in parameters.items() if not p.requires_grad)
    numel = {name: p.numel() for name, p in parameters.items()}
    return {"frozen": frozen, "numel": numel, "trainable": case.trainable, "intended": case.intended}


def _step(case: Case, optimizer: Optimizer | None) -> Tensor:
    if optimizer is not None:
        return case.step(optimizer)
    loss = case.loss()
    loss.backward()
    return loss


class _Watcher:
    """Sees gradients and weights just before any optimizer steps, and what the loss function gives."""

    case: Case

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self.optimizer: Optimizer | None = None
        self.looks: list[Look] = []
        self.stepped = False
        self._norms: dict[str, list[float | None]] = {}
        self._losses: list[float] = []
        self._start: dict[str, Tensor] = {}

    def listen(self, loss_fn: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
        def heard(output: Any, target: Any) -> Tensor:
            loss = loss_fn(output, target)
            self._losses.append(float(loss.detach()))
            return loss

        return heard

    def look(self, optimizer: Optimizer | None, *_: Any) -> None:
        self.stepped = True
        found = self._found()
        if not self.looks:
            self._start = {name: tensor.detach().clone() for name, tensor in found.items() if tensor is not None}
        self.looks.append(Look({name: gradient_of(tensor) for name, tensor in found.items()}, self.weights(), tuple(self._losses)))
        self._losses.clear()
        if optimizer is self.optimizer:
            parameters = dict(self.case.model.named_parameters())
            for name in self.case.trainable:
                if name in parameters and parameters[name].requires_grad:
                    self._norms.setdefault(name, []).append(_norm(parameters[name].grad))

    def norms(self) -> dict[str, float | None]:
        """Of several looks each parameter's largest gradient counts."""
        return {name: _largest(several) for name, several in self._norms.items()}

    def _found(self) -> dict[str, Tensor | None]:
        return {name: locate(self.case.model, name) for name in self._names}

    def weights(self) -> tuple[int, ...]:
        return tuple(-1 if tensor is None else _bits(tensor.detach()) for tensor in self._found().values())

    def shift(self) -> dict[str, Tensor]:
        found, start = self._found(), self._start
        return {name: tensor.detach() - start[name] for name, tensor in found.items() if tensor is not None and name in start}


def _bits(tensor: Tensor) -> int:
    """The sum of the bit patterns: another one for other weights, but for a coincidence in every parameter at once."""
    return int(tensor.contiguous().view(_BITS[tensor.element_size()]).sum(dtype=torch.int64))


def _norm(gradient: Tensor | None) -> float | None:
    if gradient is None:
        return None
    size = norm(gradient.coalesce().values() if gradient.is_sparse else gradient)
    return size if math.isfinite(size) else math.nan


def _largest(norms: list[float | None]) -> float | None:
    present = [size for size in norms if size is not None]
    return next((size for size in present if math.isnan(size)), max(present, default=None))
