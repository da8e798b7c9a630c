"""What detectors look at that need no case of their own: the gradients of one pass, and those of some training steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gradfuzz.records import State, Verdict

if TYPE_CHECKING:
    from gradfuzz.engine import Observation
    from gradfuzz.graph.trace import TracedCase
    from gradfuzz.operators.draft import Mutation
    from gradfuzz.subjects.case import Case

Norms = Mapping[str, float | None]


@dataclass(frozen=True)
class Evidence:
    """What a detector sees of one pass. Read-only: all detectors get the same one.

    norms: per trained parameter that requires grad, the Euclidean norm of its gradient; None where there is none, NaN where it is not
    finite. frozen: the parameters that do not require grad. loss: of the pass. raised: backward raised, so that there are no gradients.
    trainable: what the author wants trained, frozen or not. numel: elements of each parameter. intended: the author's declared stops,
    ``{parameter or module: reason}``; see ``is_intended``.
    """

    norms: Norms
    frozen: frozenset[str]
    loss: float
    raised: bool = False
    trainable: tuple[str, ...] = ()
    numel: Mapping[str, int] = field(default_factory=dict)
    intended: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("norms", "numel", "intended"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @classmethod
    def of(cls, traced: TracedCase, mutation: Mutation, observation: Observation) -> Evidence:
        """The mutated case as a checker would find it after ``loss.backward()``, from what the engine computed."""
        if told := getattr(observation, "evidence", None):  # of a training program, whose model is not the traced one
            return cls(**told, raised=bool(observation.stage))
        frozen = {name for name in traced.parameters if not traced.leaves[f"parameter:{name}"].requires_grad}
        frozen |= {leaf.removeprefix("parameter:") for leaf in mutation.frozen}
        frozen -= {leaf.removeprefix("parameter:") for leaf in mutation.with_grad}
        norms: dict[str, float | None] = {}
        for name in traced.case.trainable:
            if name in frozen:
                continue
            compared = observation.compared.get(name)
            if compared is None:
                norms[name] = traced.norm(name) if traced.reference.gradients.get(name) is not None else None
            else:
                norms[name] = None if compared.state is State.MISSING else compared.norm
        numel = {name: traced.leaves[f"parameter:{name}"].numel() for name in traced.parameters}
        case = traced.case
        return cls(norms, frozenset(frozen), observation.loss, bool(observation.stage), case.trainable, numel, case.intended)

    @classmethod
    def of_case(cls, case: Case) -> Evidence:
        """One training step of a live case; the gradients are those that its optimizer saw. Raises what the step raises."""
        from gradfuzz.detectors.passes import seen_by_optimizer

        frozen = frozenset(name for name, p in case.model.named_parameters() if not p.requires_grad)
        numel = {name: p.numel() for name, p in case.model.named_parameters()}
        norms, loss = seen_by_optimizer(case, case.optimizer(), case.batch)
        return cls(norms, frozen, loss, False, case.trainable, numel, case.intended)

    @property
    def nonfinite(self) -> tuple[str, ...]:
        """Parameters with a NaN or an infinity in their gradient."""
        return tuple(name for name, norm in self.norms.items() if norm is not None and math.isnan(norm))

    @property
    def layers(self) -> dict[str, float]:
        """Per module that owns parameters, in the model's order, the root mean square of its gradient's elements.

        Modules without any gradient, or with one that is not finite, are left out.
        """
        squares: dict[str, list[tuple[float, int]]] = {}
        for name, norm in self.norms.items():
            if norm is not None:
                squares.setdefault(name.rpartition(".")[0], []).append((norm * norm, self.numel[name]))
        found = {layer: math.sqrt(sum(s for s, _ in parts) / max(sum(n for _, n in parts), 1)) for layer, parts in squares.items()}
        return {layer: size for layer, size in found.items() if math.isfinite(size)}


@dataclass(frozen=True)
class Step:
    """One training step. norms: as in ``Evidence``, as the optimizer saw them. changed: parameters that the step changed, in any bit."""

    norms: Norms
    changed: frozenset[str]
    loss: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "norms", MappingProxyType(dict(self.norms)))


@dataclass(frozen=True)
class Steps:
    """What a detector sees of some training steps. Read-only.

    repeated: steps on one batch. batches: as many on a batch each, from the same start. covered: the parameters that the optimizer holds.
    parameters: all of them. frozen, trainable, intended: as in ``Evidence``.
    """

    repeated: tuple[Step, ...]
    batches: tuple[Step, ...]
    parameters: tuple[str, ...]
    frozen: frozenset[str]
    covered: frozenset[str]
    trainable: tuple[str, ...] = ()
    intended: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "intended", MappingProxyType(dict(self.intended)))

    @property
    def trained(self) -> tuple[str, ...]:
        """Parameters that are to be trained and require grad."""
        return tuple(self.repeated[0].norms) if self.repeated else ()

    @property
    def losses(self) -> tuple[float, ...]:
        """Of the repeated batch, before each of the steps."""
        return tuple(step.loss for step in self.repeated)


def is_intended(intended: Mapping[str, str], name: str) -> bool:
    """Whether a stop is declared for a parameter: by its name, or by that of a module which holds it."""
    return any(name == declared or name.startswith(f"{declared}.") for declared in intended)


def suspects(evidence: Evidence, guilty: Any, what: str) -> Verdict:
    """A verdict that suspects every parameter whose gradient norm is guilty (``guilty(norm)``), in the model's order."""
    return accuse((name for name, norm in evidence.norms.items() if guilty(norm)), what)


def accuse(names: Iterable[str], what: str) -> Verdict:
    """A verdict that suspects some parameters; not flagged if there are none."""
    found = tuple(names)
    return Verdict(bool(found), found, f"{len(found)} parameters: {what}" if found else "")
