"""Case -> TracedCase: the objective as one program, everything recorded once that mutants are compared with, and the baseline gate.

Nothing measured on a subject counts unless its traced form is the user's own program: so each claim that the rest relies on is checked
here, on the unmutated case, and a case that fails is refused with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor

from gradfuzz.errors import Refused
from gradfuzz.graph.capture import capture
from gradfuzz.graph.double import DoublePrecision
from gradfuzz.graph.execution import Pass, environment_of, run_pass
from gradfuzz.graph.finite_difference import agrees
from gradfuzz.graph.program import Instruction, Program, Ref, execute, random_state, tensors_of
from gradfuzz.graph.resume import COPIES as RETAINED
from gradfuzz.graph.resume import Resumable
from gradfuzz.isolation import isolated, texts
from gradfuzz.records import Thresholds
from gradfuzz.subjects import Subject
from gradfuzz.subjects.case import Batch, Case, Objective


@dataclass(frozen=True)
class Value:
    """What was recorded of one value of the reference run. shape and dtype are None unless it is one tensor.

    tensors: how many tensors it holds. zeros: whether some element is exactly zero. nbytes: size of the tensors.
    """

    shape: tuple[int, ...] | None
    dtype: torch.dtype | None
    requires_grad: bool
    tensors: int
    zeros: bool
    nbytes: int


@dataclass
class TracedCase:
    """A subject that passed the gate.

    live: names of the parameters that the truth is about. left_out: the other trainable ones, with the reason. reference: the pass of the
    unmutated program. values, random_states, noise: recorded per instruction. rebuild: makes the case anew, None if nobody knows how.
    """

    name: str
    case: Case
    seed: int
    thresholds: Thresholds
    program: Program
    leaves: dict[str, Tensor]
    inputs: tuple[str, ...]
    values: dict[str, Value] = field(default_factory=dict)
    random_states: dict[str, Tensor] = field(default_factory=dict)
    noise: dict[str, Any] = field(default_factory=dict)
    reference: Pass = field(default_factory=Pass)
    live: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    rebuild: Callable[[], Case] | None = None

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """All parameters, in the model's order."""
        return tuple(name.removeprefix("parameter:") for name in self.leaves if name.startswith("parameter:"))

    @cached_property
    def _double(self) -> tuple[DoublePrecision, Pass]:
        exact = DoublePrecision(self.program, self.leaves, self.random_states, self.noise, self.seed)
        return exact, exact.gradients()

    @property
    def double(self) -> DoublePrecision:
        """The unmutated program in float64."""
        return self._double[0]

    @property
    def double_reference(self) -> Pass:
        """Its pass."""
        return self._double[1]

    @cached_property
    def elsewhere(self) -> tuple[Resumable, ...]:
        """Passes over the further batches that the truth looks at."""
        batches = self.case.batches(self.thresholds.batches, self.seed)[1:]
        return tuple(Resumable(self.program, self.leaves_for(batch), self.random_states, seed=self.seed) for batch in batches)

    def keep(self, bound: float) -> None:
        """Retain passes that variants of the program share most of, where all of them together take no more than so many bytes."""
        size = RETAINED * sum(self.values[instruction.name].nbytes for instruction in self.program.instructions)
        if size * (2 + self.thresholds.batches - 1) <= bound:
            for passes in (self.double.passes, *self.elsewhere):
                passes.keep = True

    def norm(self, parameter: str) -> float:
        """Euclidean norm of the reference gradient."""
        return self.norms[parameter]

    @cached_property
    def norms(self) -> dict[str, float]:
        """Of every parameter that has a reference gradient."""
        return {name: norm(gradient) for name, gradient in self.reference.gradients.items() if gradient is not None}

    def leaves_for(self, batch: Batch) -> dict[str, Tensor]:
        """The leaves with another batch in the place of the first."""
        tensors = [item for item in pytree.tree_leaves(batch) if isinstance(item, Tensor)]
        fresh = dict(zip(self.inputs, tensors, strict=True))
        return {name: fresh.get(name, tensor).to(tensor.device) for name, tensor in self.leaves.items()}


def norm(tensor: Tensor) -> float:
    """Euclidean norm. In float32 where that is safe (ten times faster), in float64 where the squares would leave its range."""
    quick = float(torch.linalg.vector_norm(tensor))
    return quick if 1e-15 < quick < 1e15 else float(torch.linalg.vector_norm(tensor, dtype=torch.float64))


def trace(subject: Subject, seed: int = 0, thresholds: Thresholds | None = None, device: str = "cpu") -> TracedCase:
    """Build, capture, record and gate a subject. Raises ``Refused`` or ``BadInput`` with one line."""
    case = to_device(subject.build(seed), device)
    traced = trace_case(subject.name, case, seed, thresholds)
    traced.rebuild = lambda: to_device(subject.build(seed), device)
    return traced


def trace_case(name: str, case: Case, seed: int = 0, thresholds: Thresholds | None = None) -> TracedCase:
    """The same for a case that is already built."""
    eager = _eager(case, seed)
    again = _eager(case, seed)
    limits = thresholds or Thresholds()
    _same(eager, again, limits, "two runs with one seed differ: the subject is not deterministic (time, an unseeded generator, a counter?)")
    with isolated(seed):
        captured = capture(case)
    traced = TracedCase(name, case, seed, limits, captured.program, captured.leaves, captured.inputs)
    _record(traced)
    traced.reference = run_pass(traced.program, traced.leaves, traced.random_states, seed=seed)
    if traced.reference.stage:
        raise Refused(f"the traced program raises in {traced.reference.stage}: {traced.reference.error}")
    _same(
        eager,
        traced.reference,
        limits,
        "torch.export traced another function than the model computes (custom autograd function, hook?); --level runtime needs no trace",
    )
    traced.left_out = _left_out(traced)
    traced.live = tuple(name for name in case.trainable if name not in traced.left_out)
    if not traced.live:
        raise Refused(
            f"no parameter has a live gradient, so there is nothing to break: {next(iter(traced.left_out.values()), 'all frozen')}"
        )
    _forced_fail(traced)
    if agrees(traced.double, traced.live, traced.double_reference.gradients, limits) is False:
        raise Refused("autograd and finite differences disagree on the unmutated case: its own backward is not the derivative of its loss")
    return traced


def to_device(case: Case, device: str) -> Case:
    """The case with model and batch on a device."""
    if device == "cpu":
        return case
    case.model.to(device)
    move = lambda batch: pytree.tree_map(lambda item: item.to(device) if isinstance(item, Tensor) else item, batch)  # noqa: E731
    make = case.make_batch
    return replace(case, batch=move(case.batch), make_batch=(lambda k: move(make(k))) if make else None)


def _eager(case: Case, seed: int) -> Pass:
    """The user's own program, run as they would run it; parameters' gradients and buffers are left as they were."""
    buffers = {name: tensor.clone() for name, tensor in case.model.named_buffers()}
    objective, parameters = Objective(case), dict(case.model.named_parameters())
    with isolated(seed) as caught:
        try:
            loss = objective(*case.batch)
        except Exception as error:
            raise Refused(
                f"the training case fails before any mutation: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            ) from error
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise Refused(f"the loss must be a tensor with one element, got {_describe(loss)}: reduce it in the loss function")
        if not math.isfinite(float(loss.detach())):
            raise Refused(f"the loss is {float(loss.detach())} before any mutation: mend the case (inputs, initialisation, loss) first")
        if not loss.requires_grad:
            raise Refused("the loss does not require grad: nothing in this case trains (all frozen, detached, or under no_grad?)")
        wanted = {name: p for name, p in parameters.items() if p.requires_grad}
        try:
            found = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
        except RuntimeError as error:
            raise Refused(f"backward fails before any mutation: {str(error).splitlines()[0]}") from error
        gradients: dict[str, Tensor | None] = dict.fromkeys(parameters)
        gradients.update(zip(wanted, found, strict=True))
        warned = texts(caught)
    with torch.no_grad():
        for name, tensor in case.model.named_buffers():
            tensor.copy_(buffers[name])
    bad = next((name for name, g in gradients.items() if g is not None and not torch.isfinite(g).all()), None)
    if bad is not None:
        raise Refused(f"the gradient of '{bad}' is not finite before any mutation: mend the case first")
    return Pass(float(loss.detach()), gradients, warned)


def _describe(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _same(one: Pass, other: Pass, limits: Thresholds, complaint: str) -> None:
    """Loss and every gradient, None pattern included."""
    if abs(one.loss - other.loss) > limits.eager * max(abs(one.loss), 1e-12):
        raise Refused(f"{complaint} - loss {one.loss:.9g} against {other.loss:.9g}")
    largest = max((norm(g) for g in one.gradients.values() if g is not None), default=0.0)
    for name, gradient in one.gradients.items():
        counterpart = other.gradients.get(name)
        if (gradient is None) != (counterpart is None):
            # a parameter that autograd reaches only through exact zeros may be None in one and zero in the other
            present = gradient if gradient is not None else counterpart
            if present is not None and not present.any():
                continue
            raise Refused(f"{complaint} - the gradient of '{name}' is missing in one of the two")
        if gradient is None or counterpart is None:
            continue
        error = norm(gradient - counterpart)
        if error > limits.eager * max(norm(gradient), 1e-3 * largest):
            raise Refused(f"{complaint} - the gradients of '{name}' differ by {error / max(norm(gradient), 1e-30):.1e}")


def _record(traced: TracedCase) -> None:
    """One forward with the eager random stream, keeping the facts about each value and each generator state, not the values."""
    device = next(iter(traced.leaves.values())).device
    before = random_state(device)

    def watch(instruction: Instruction, value: Any) -> Any:
        nonlocal before
        after = random_state(device)
        if not torch.equal(before, after):
            traced.random_states[instruction.name] = before
            carries = any(tensor.requires_grad for tensor in tensors_of(value))
            if not carries:
                traced.noise[instruction.name] = value.clone()
            before = after
        traced.values[instruction.name] = _recorded(value)
        return value

    with isolated(traced.seed):
        before = random_state(device)
        environment = environment_of(traced.leaves)
        for name, tensor in environment.items():
            if isinstance(tensor, Tensor):
                traced.values[name] = _recorded(tensor)
        execute(traced.program.instructions, environment, {}, watch)


def _recorded(value: Any) -> Value:
    tensors = tensors_of(value)
    one = value if isinstance(value, Tensor) else None
    return Value(
        tuple(one.shape) if one is not None else None,
        one.dtype if one is not None else None,
        any(tensor.requires_grad for tensor in tensors),
        len(tensors),
        one is not None and one.is_floating_point() and bool((one.detach() == 0).any()),
        sum(tensor.nbytes for tensor in tensors),
    )


def _left_out(traced: TracedCase) -> dict[str, str]:
    """Trainable parameters that the truth is not about, with the reason; some are looked at on further batches."""
    reference, reasons = traced.reference.gradients, {}
    exact = traced.double_reference
    if exact.stage:
        raise Refused(f"the case does not run in float64: {exact.error} - without that, causes cannot be measured")
    quiet = []
    for name in traced.case.trainable:
        gradient, precise = reference.get(name), exact.gradients.get(name)
        if gradient is None or not gradient.any():
            quiet.append((name, "no gradient" if gradient is None else "an exactly zero gradient"))
        elif precise is None or norm(gradient.double() - precise) > traced.thresholds.noise * norm(precise):
            reasons[name] = "its gradient is rounding noise: float32 and float64 differ"
    if quiet:
        alive: dict[str, int] = {}
        for number, batch in enumerate(traced.case.batches(traced.thresholds.batches, traced.seed)[1:], start=2):
            found = run_pass(traced.program, traced.leaves_for(batch), traced.random_states, seed=traced.seed).gradients
            for name, _ in quiet:
                gradient = found.get(name)
                if gradient is not None and bool(gradient.any()):
                    alive.setdefault(name, number)
        for name, how in quiet:
            later = f"live on batch {alive[name]}" if name in alive else f"not live on any of {traced.thresholds.batches} batches"
            reasons[name] = f"{how} in the unmutated subject, {later}"
    return reasons


def _forced_fail(traced: TracedCase) -> None:
    """A loss cut from everything must be noticed, or nothing that we call dead would mean anything."""
    cut = Instruction("forced_fail", torch.Tensor.detach, (Ref(traced.program.output),))
    severed = Program((*traced.program.instructions, cut), cut.name)
    outcome = run_pass(severed, traced.leaves, traced.random_states, seed=traced.seed)
    if outcome.stage != "backward":
        raise Refused("the forced-fail control (a loss cut from every parameter) was not noticed: gradients come from elsewhere")
