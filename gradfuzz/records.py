"""The small frozen records that travel between the stages. Standard library only: no torch, no pandas.

A mutant is one line of text, a result is one row. Tensors never leave the call that made them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote, unquote

from gradfuzz.errors import BadInput


class State(StrEnum):
    """What became of one parameter's gradient, against the reference of the unmutated subject."""

    MISSING = "missing"  # None
    ZERO = "zero"  # present, every element exactly zero
    NONFINITE = "nonfinite"
    VANISHED = "vanished"  # norm below `Thresholds.vanished` times the reference norm
    ALTERED = "altered"
    STUCK = "stuck"  # the gradient is the reference's, and the update is lost
    SAME = "same"


LOST = frozenset({State.MISSING, State.ZERO, State.VANISHED})


class Effect(StrEnum):
    """The effect of a mutant, worst first; a mutant has exactly one."""

    INVALID = "invalid"  # does not build, or forward raises
    RAISES = "raises"  # backward raises
    NONFINITE = "nonfinite"
    DEAD = "dead"  # a live parameter has no gradient now, or an exactly zero one
    VANISHED = "vanished"
    ALTERED = "altered"
    STUCK = "stuck"  # gradient intact, update lost
    EQUIVALENT = "equivalent"
    UNSTABLE = "unstable"  # dead or vanished on one batch, alive on another


class Cause(StrEnum):
    """Why the gradient is what it is; decided by measurement, never by the operator's name."""

    NONE = ""
    CUT = "cut"  # autograd lost the path, the value still depends on the parameter
    FLAT = "flat"  # the function really does not vary
    UNDERFLOW = "underflow"  # lost, or spoilt, in this precision only
    UNUSED = "unused"  # the loss no longer depends on the parameter at all
    BIASED = "biased"  # nonzero, but not the derivative of what is computed
    CHANGED = "changed"  # another function, with its honest gradient
    NOT_UPDATED = "not_updated"


class Level(StrEnum):
    """Where an operator intervenes."""

    GRAPH = "graph"
    PARAMETER = "parameter"
    INIT = "init"
    LOSS = "loss"
    STEP = "step"
    DATA = "data"
    PRECISION = "precision"
    RUNTIME = "runtime"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Every number that decides a label. All are relative and without unit unless stated.

    Pass another instance to ``gradfuzz.run`` (or ``--threshold name=value``) to override; it is kept in the manifest.
    """

    same: float = 1e-6
    """Relative distance of two gradients up to which they count as one: ten times float32's rounding unit."""
    vanished: float = 1e-5
    """Norm over reference norm below which a gradient has vanished."""
    noise: float = 0.1
    """Relative distance between the float32 and the float64 gradient of the *unmutated* subject above which a parameter's
    gradient is only rounding noise (a bias before BatchNorm): it is listed and left out of the truth."""
    eager: float = 1e-4
    """Relative distance allowed between eager and traced gradients, and between two runs, at the baseline gate."""
    difference: float = 1e-3
    """Relative distance allowed between autograd and the directional finite difference in float64."""
    step: float = 1e-8
    """Longest finite-difference step, relative to the norm of the parameters moved."""
    change: float = 1e-6
    """Relative change of the loss that a finite-difference step aims at; it is shorter than ``step`` where the loss is steep, because deep
    networks with ReLU have kinks wherever the loss moves much."""
    rounding: float = 1e-12
    """Relative change of a float64 loss, or size of a float64 gradient against the reference, that rounding alone can bring about."""
    aside: float = 1e-4
    """How far parameters with a zero gradient are moved, relative to their norm, to see whether it is zero only where they were."""
    moved: float = 0.1
    """Part of the reference's update, along it, below which a parameter's update counts as lost."""
    batches: int = 3
    """Batches on which a gradient must be zero before it counts as dead, and to look for life at the baseline."""


def _quote(text: str) -> str:
    """Colons stay readable (``file.py:12:linear:1``) unless they could be taken for the mark between the parts."""
    readable = quote(text, safe="/.,->_[]()+=@ :")
    return readable.replace(":", "%3A") if readable.startswith(":") or "::" in readable else readable


@dataclass(frozen=True, slots=True, order=True)
class Mutant:
    """One break: ``subject::operator::site`` and ``#k`` for variant k > 0. ``Mutant.parse(str(m)) == m``.

    Derived from content alone, so the same mutant has the same name on every machine and in every run.
    """

    subject: str
    operator: str
    site: str
    variant: int = 0

    def __str__(self) -> str:
        suffix = f"#{self.variant}" if self.variant else ""
        return f"{self.subject}::{self.operator}::{_quote(self.site)}{suffix}"

    @classmethod
    def parse(cls, text: str) -> Mutant:
        """Raises ``BadInput`` for anything that ``str`` of a mutant could not have printed."""
        parts = text.rsplit("::", 2)
        if len(parts) != 3 or not all(parts):
            raise BadInput(f"'{text}' is no mutant: write subject::operator::site, as `gradfuzz list mutants` prints it")
        subject, operator, rest = parts
        site, mark, number = rest.partition("#")
        if mark and not (number.isascii() and number.isdigit() and not number.startswith("0")):
            raise BadInput(f"'{text}' is no mutant: after '#' comes the number of a variant, 1 or more")
        if not site:
            raise BadInput(f"'{text}' is no mutant: its site is empty")
        return cls(subject, operator, unquote(site), int(number) if mark else 0)


class Kind(StrEnum):
    """What a site is: the text of each form is in ``Site``."""

    NODE = "node"
    EDGE = "edge"
    USE = "use"
    PARAMETER = "parameter"
    MODULE = "module"
    SPAN = "span"
    INPUT = "input"
    PAIR = "pair"
    SUBJECT = "subject"
    LOOP = "loop"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Site:
    """A place where an operator applies.

    ``value``: the node, parameter, module or input that is meant. ``user``: the one user of an edge (``relu->add``) or of a parameter
    (``fc.weight->linear``); the last node of a span (``conv2d..relu``); the second parameter of a pair (``a.weight+b.weight``).
    For a training program ``value`` is the name of a loop, or the path of a group of parameters.
    ``module``: dotted module path, "loss" for the loss. ``source``: ``file.py:line`` of the user's code, or "".
    """

    kind: Kind
    value: str
    user: str = ""
    module: str = ""
    source: str = ""

    @property
    def text(self) -> str:
        mark = {Kind.EDGE: "->", Kind.USE: "->", Kind.SPAN: "..", Kind.PAIR: "+"}.get(self.kind, "")
        return f"{self.value}{mark}{self.user}" if mark else (self.value or ".")


@dataclass(frozen=True, slots=True)
class ParameterTruth:
    """One parameter of one mutant. ``norm_ratio`` and ``cosine`` are against the reference gradient; NaN where undefined."""

    parameter: str
    state: State
    norm_ratio: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Truth:
    """What a mutant did, measured. ``parameters`` lists those that are not ``same``."""

    effect: Effect
    cause: Cause
    faithful: bool | None
    silent: bool
    loss_changed: bool
    parameters: tuple[ParameterTruth, ...]
    gradient_error: float
    signature: str
    error: str = ""

    @property
    def invisible(self) -> bool:
        """Silent, and the loss did not change by a single bit."""
        return self.silent and not self.loss_changed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a detector said of one case. ``suspects``: names, the most suspect first."""

    flagged: bool
    suspects: tuple[str, ...] = ()
    message: str = ""
    status: str = "ok"  # ok | error | raised | timeout | skipped
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Description:
    """What ``gradfuzz list`` shows of a registered thing."""

    name: str
    summary: str
    details: Mapping[str, str] = field(default_factory=dict)
