"""Mutants of the training program: some steps of the unbroken program and of the broken one, side by side.

Gradients are compared as the optimizer is about to use them, look by look, for as long as both programs stand at the same weights. If none
differs, what all the steps did to the weights is compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from gradfuzz.engine import Comparison, Observation, compare
from gradfuzz.engine.case_training import Gradients, Look, Trained, train
from gradfuzz.graph.trace import TracedCase, norm
from gradfuzz.operators.case_draft import CaseMutation
from gradfuzz.operators.training import Training
from gradfuzz.records import State

MEMORY = 2**30
"""Bytes of references that are kept for the mutants to come."""


@dataclass
class CaseObservation(Observation):
    """What a mutant of the training program did against the unbroken program.

    loss: what the first step returned. compared: at the first look that differs. loss_changed: whether the losses that the steps returned
    are other ones. updates: of each live parameter whose gradient is intact and whose way is not the reference's, the part of that way
    that it went. base: norm of the whole reference gradient at the look that differs. ordinary: the warnings of the unbroken program.
    evidence: for ``gradfuzz.detectors.Evidence``. gradients: at the look that differs, where the function may be another one.
    """

    loss_changed: bool = False
    updates: dict[str, float] = field(default_factory=dict)
    base: float = math.nan
    ordinary: frozenset[str] = frozenset()
    evidence: dict[str, Any] = field(default_factory=dict)
    gradients: Gradients = field(default_factory=dict)


def observe_case_mutation(traced: TracedCase, mutation: CaseMutation) -> CaseObservation:
    """Train the broken program beside the unbroken one. ``invalid`` where the unbroken one does not run on this case."""
    reference = reference_of(traced, mutation)
    if reference.stage:
        return CaseObservation(stage="forward", error=f"the unbroken program raises in {reference.stage}: {reference.error}")
    beside = _Beside(traced, reference)
    done = train(mutation.case, traced.live, traced.seed, beside.enough)
    pairs = list(zip(done.losses, reference.losses, strict=False))[:1]
    found = CaseObservation(
        loss=done.losses[0] if done.losses else math.nan,
        compared=beside.compared,
        warnings=done.warnings,
        preserved=beside.preserved,
        stage=done.stage,
        error=done.error,
        severed=done.severed,
        loss_changed=not pairs or any(one != other for one, other in pairs),
        base=beside.base,
        ordinary=reference.warnings,
        evidence=done.evidence,
        gradients={} if mutation.preserving else beside.gradients,
    )
    if not beside.different and not done.stage:
        found.updates = _updates(traced, done, reference)
    return found


class _Beside:
    """Compares the looks of a mutant with those of the reference, each once, until one differs or the weights do."""

    def __init__(self, traced: TracedCase, reference: Trained) -> None:
        self._traced, self._reference, self._done, self._together = traced, reference, 0, True
        self.compared: dict[str, Comparison] = {}
        self.gradients: Gradients = {}
        self.preserved, self.base = True, math.nan

    @property
    def different(self) -> bool:
        return any(comparison.state is not State.SAME for comparison in self.compared.values())

    def enough(self, looks: list[Look]) -> bool:
        while self._done < len(looks) and not self.different:
            self._compare(self._done, looks[self._done])
            self._done += 1
        return self.different

    def _compare(self, number: int, look: Look) -> None:
        if not self._together or number >= len(self._reference.looks):
            return
        right, limits = self._reference.looks[number], self._traced.thresholds
        self._together = look.weights == right.weights
        if not self._together and number:
            return
        self.preserved &= all(one == other for one, other in zip(look.losses, right.losses, strict=False))
        pairs = {name: (look.gradients.get(name), right.gradients.get(name)) for name in self._traced.live}
        found = {name: compare(g if g is None or r is None else g.to(r.dtype), r, limits) for name, (g, r) in pairs.items()}
        self.compared = {name: comparison for name, comparison in found.items() if comparison is not None}
        self.gradients = look.gradients
        self.base = math.sqrt(math.fsum(norm(r) ** 2 for _, r in pairs.values() if r is not None))


def _parted(done: Trained, reference: Trained) -> set[int]:
    """Places of the parameters that the first step to do so moved otherwise. What parts later may be only the consequence."""
    mine, right = ([*(look.weights for look in trained.looks), trained.weights] for trained in (done, reference))
    for one, other in zip(mine, right, strict=False):
        if one != other:
            return {place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b}
    return set()


def _updates(traced: TracedCase, done: Trained, reference: Trained) -> dict[str, float]:
    found, parted = {}, _parted(done, reference)
    for place, name in enumerate(traced.live):
        way = reference.shift.get(name)
        size = norm(way) if way is not None else 0.0
        if way is None or not size or place not in parted:
            continue
        mine = done.shift.get(name)
        if mine is None or norm(mine.to(way.dtype) - way) > traced.thresholds.difference * size:
            found[name] = 0.0 if mine is None else float(torch.sum(mine.to(way.dtype) * way, dtype=torch.float64)) / size**2
    return found


_references: WeakKeyDictionary[nn.Module, dict[Training, Trained]] = WeakKeyDictionary()


def reference_of(traced: TracedCase, mutation: CaseMutation) -> Trained:
    """The steps of the unbroken program; the latest ones are kept, up to ``MEMORY``."""
    kept = _references.setdefault(traced.case.model, {})
    found = kept.pop(mutation.right, None)
    if found is None:
        found = train(mutation.right_case, traced.live, traced.seed, lambda looks: False)
        if not found.stage and (ill := _ill(traced, found)):
            found.stage, found.error = "step", ill
    kept[mutation.right] = found  # the latest
    while len(kept) > 1 and sum(map(_size, kept.values())) > MEMORY:
        del kept[next(iter(kept))]
    return found


def _ill(traced: TracedCase, reference: Trained) -> str:
    """What keeps an unbroken program from being a reference, or "". Every live parameter has to learn in it."""
    first = reference.looks[0].gradients
    for name in traced.live:
        gradient = first.get(name)
        if gradient is None or not bool(gradient.any()):
            return f"'{name}' has no gradient in it"
        if not bool(gradient.isfinite().all()):
            return f"the gradient of '{name}' is not finite in it"
    return ""


def _size(trained: Trained) -> int:
    tensors = [g for look in trained.looks for g in look.gradients.values() if g is not None]
    return sum(tensor.nbytes for tensor in (*tensors, *trained.shift.values()))
