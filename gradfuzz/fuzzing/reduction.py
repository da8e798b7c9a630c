"""Make a find smaller: fewer layers, plainer ones, smaller widths, for as long as the same thing is found.

On the data, not on hypothesis's choices: a record has tens of smaller neighbours where its choices have hundreds, and each costs a trace.
What tests draw from ``strategies`` is shrunk by hypothesis itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from gradfuzz.errors import Refused
from gradfuzz.fuzzing.architecture import Architecture, Head, Layer, pruned
from gradfuzz.fuzzing.finding import Finding
from gradfuzz.fuzzing.layers import KINDS
from gradfuzz.fuzzing.losses import LOSSES
from gradfuzz.fuzzing.session import Session
from gradfuzz.fuzzing.targets import Target

LONGEST = 30.0
"""Seconds that one find may take to shrink; the smallest so far is kept."""
MUTANTS = 60
"""Mutants of one operator that a smaller architecture is asked about."""


def reduced(finding: Finding, target: Target, longest: float = LONGEST, stop: Callable[[], bool] = lambda: False) -> Finding:
    """The smallest find of the same cause that was met in ``longest`` seconds, or before ``stop()``."""
    until = time.monotonic() + longest
    over = lambda: stop() or time.monotonic() > until  # noqa: E731
    seen: set[Architecture] = set()
    best, improved = finding, True
    while improved and not over():
        improved = False
        for smaller in candidates(best.architecture, finding.kind):
            if smaller in seen or smaller.size >= best.architecture.size:
                continue
            seen.add(smaller)
            found = again(smaller, finding, target)
            if found is not None:
                best, improved = found, True
                break
            if over():
                break
    return best


def again(architecture: Architecture, finding: Finding, target: Target, there: bool = False) -> Finding | None:
    """A find of the same cause on another architecture, or None. there: at the same site, by the same variant."""
    try:
        session = Session.of(architecture)
    except Refused:
        return None
    return search_case(session, finding, target) if finding.operator == "none" else search_mutants(session, finding, target, there)


def search_case(session: Session, finding: Finding, target: Target) -> Finding | None:
    for problem in target.about_case(session):
        found = replace(finding, architecture=session.architecture, effect=problem.effect, detail=problem.detail, reason=problem.reason)
        if found.cause == finding.cause:
            return found
    return None


def search_mutants(session: Session, finding: Finding, target: Target, there: bool = False) -> Finding | None:
    from gradfuzz.operators import operators

    several = session.steps([operators[finding.operator]])
    same = [step for step in several if (step.mutant.site, step.mutant.variant) == (finding.site, finding.variant)]
    for step in same if there else several[:MUTANTS]:
        problem = target.about_mutant(session, step)
        if problem is None:
            continue
        found = replace(
            finding, architecture=session.architecture, kind=session.kind_of(step.site), site=step.mutant.site, variant=step.mutant.variant,
            effect=problem.effect, detail=problem.detail, reason=problem.reason,
        )  # fmt: skip
        if found.cause == finding.cause:
            return found
    return None


def candidates(architecture: Architecture, kind: str) -> Iterator[Architecture]:
    """Smaller neighbours, the boldest first."""
    yield from _from_scratch(architecture, kind)
    layers, inputs = architecture.layers, len(architecture.inputs)
    for place in reversed(range(len(layers))):
        yield _without(architecture, place)
    for place in range(len(architecture.heads)):
        if len(architecture.heads) > 1:
            yield _pruned(architecture, heads=architecture.heads[:place] + architecture.heads[place + 1 :])
    for place, head in enumerate(architecture.heads):
        for plainer in (Head(), Head(read=head.read), replace(head, weight=1.0), replace(head, read=0)):
            yield _pruned(architecture, heads=_with(architecture.heads, place, plainer))
    yield _pruned(architecture, inputs=("float",) * inputs)
    for place, layer in enumerate(layers):
        yield from (_pruned(architecture, layers=_with(layers, place, plainer)) for plainer in _plainer(layer, place + inputs))
    small = {"width": 1, "tokens": 2, "batch": 3, "seed": 0}
    yield _pruned(architecture, **small)
    for name, least in small.items():
        now = getattr(architecture, name)
        for value in dict.fromkeys((least, (least + now) // 2, max(now - 1, least))):
            yield _pruned(architecture, **{name: value})


def _from_scratch(architecture: Architecture, kind: str) -> Iterator[Architecture]:
    """The plainest architectures that have this kind of layer or loss at all."""
    seeded = replace(Architecture(), seed=architecture.seed)
    starts = [Architecture(), Architecture(width=2), seeded, replace(seeded, inputs=("tokens",))]
    if kind in LOSSES:
        starts += [replace(start, heads=(Head(kind),)) for start in starts[:3]]
    if kind in KINDS:
        for start in list(starts[:3]):
            for width in (1, 2):
                first = Layer("linear", width=width)
                starts.append(replace(start, layers=(Layer(kind, (0,) * KINDS[kind].reads, width),), heads=(Head(read=1),)))
                starts.append(replace(start, layers=(first, Layer(kind, (1, 0)[: KINDS[kind].reads], width)), heads=(Head(read=2),)))
    yield from starts


def _plainer(layer: Layer, place: int) -> Iterator[Layer]:
    order = list(KINDS)
    for kind in dict.fromkeys(("linear", "relu", "tanh", "residual" if KINDS[layer.kind].reads == 2 else "scale")):
        if order.index(kind) < order.index(layer.kind):
            weights = KINDS[kind].weights
            yield Layer(kind, layer.reads[: KINDS[kind].reads], layer.width if weights else 1, layer.frozen and weights)
    yield replace(layer, frozen=False, tied=False)
    yield replace(layer, frozen=False)
    yield replace(layer, tied=False)
    yield replace(layer, width=1)
    yield replace(layer, width=max(layer.width - 1, 1))
    yield replace(layer, reads=tuple(place - 1 for _ in layer.reads))


def _with(items: tuple[object, ...], place: int, item: object) -> tuple[object, ...]:
    return (*items[:place], item, *items[place + 1 :])


def _pruned(architecture: Architecture, **changes: object) -> Architecture:
    return pruned(replace(architecture, **changes))  # type: ignore[arg-type]


def _without(architecture: Architecture, place: int) -> Architecture:
    """Without one layer: whoever read it reads what it read first."""
    gone, instead = len(architecture.inputs) + place, architecture.layers[place].reads[0]

    def moved(read: int) -> int:
        read = instead if read == gone else read
        return read - 1 if read > gone else read

    layers = [
        replace(layer, reads=tuple(moved(read) for read in layer.reads)) for at, layer in enumerate(architecture.layers) if at != place
    ]
    heads = tuple(replace(head, read=moved(head.read)) for head in architecture.heads)
    return pruned(replace(architecture, layers=tuple(layers), heads=heads))
