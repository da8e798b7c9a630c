"""Strategies of hypothesis: random architectures that train, their cases, and mutants of any case.

    from hypothesis import given
    from gradfuzz.fuzzing import strategies

    @given(case=strategies.cases())
    def test_my_checker_says_nothing_of_a_correct_case(case):
        assert not my_checker(case.model, case.batch, case.loss_fn)

Everything drawn prints as the plain Python that makes it, and shrinks towards fewer layers, smaller widths and plainer operations.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from gradfuzz.errors import BadInput, Refused
from gradfuzz.fuzzing import mutation
from gradfuzz.fuzzing.architecture import Architecture, Head, Layer, pruned
from gradfuzz.fuzzing.gate import gated, remember, traced_of
from gradfuzz.fuzzing.layers import KINDS
from gradfuzz.fuzzing.losses import LOSSES
from gradfuzz.fuzzing.mutation import Broken
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import CASE_FAMILIES, Operator, select
from gradfuzz.registry import near_miss
from gradfuzz.subjects.case import Case

MAX_LAYERS, MAX_WIDTH, WIDEST = 5, 4, 12
_RARELY = st.sampled_from((False, False, False, False, False, True))
_PERHAPS, _OFTEN = st.sampled_from((False, True)), st.sampled_from((False, True, True, True))
_BACK, _FURTHER_BACK = st.sampled_from((0, 0, 0, 0, 1, 2, 3)), st.sampled_from((1, 1, 2, 0, 3))


@st.composite
def architectures(
    draw: st.DrawFn, *, kinds: Iterable[str] | None = None, max_layers: int = MAX_LAYERS, max_width: int = MAX_WIDTH, must: str = ""
) -> Architecture:
    """Directed acyclic graphs of layers with one input or more, and one loss or more. Each has a parameter with a live gradient.

    kinds: names in ``gradfuzz.fuzzing.layers.KINDS``, all of them unless given. must: a kind that one of the layers has.
    Raises ``BadInput`` for a kind that does not exist.
    """
    names = _known(kinds)
    if must:
        _known([must])
    inputs = draw(st.lists(st.sampled_from(("float", "tokens")), min_size=1, max_size=2))
    width, layers = draw(st.integers(1, max_width)), list[Layer]()
    sizes = [width for _ in inputs]

    def add(more: st.SearchStrategy[bool] | None, several: tuple[str, ...]) -> bool:
        drawn = draw(_layer(more, several, tuple(sizes), max_width))
        if drawn is not None:
            layers.append(drawn)
            sizes.append(_width(drawn.kind, drawn.width, [sizes[read] for read in drawn.reads]))
        return drawn is not None

    place_of_must = -1
    if must:
        while len(layers) < max_layers - 1 and add(_PERHAPS, names):
            pass
        place_of_must = len(layers)
        add(None, (must,))
    while len(layers) < max_layers and add(_PERHAPS if must else _OFTEN, names):
        pass
    heads = [Head(draw(st.sampled_from(tuple(LOSSES))), len(sizes) - 1)]
    for _ in range(draw(st.integers(0, 2))):
        heads.append(Head(draw(st.sampled_from(tuple(LOSSES))), draw(st.integers(0, len(sizes) - 1)), draw(st.sampled_from((1.0, 0.5)))))
    if must and len(inputs) + place_of_must not in {head.read for head in heads}:
        heads[-1] = Head(heads[-1].loss, len(inputs) + place_of_must, heads[-1].weight)
    tokens, batch, seed = draw(st.integers(2, 4)), draw(st.integers(3, 5)), draw(st.integers(0, 999))
    return pruned(Architecture(tuple(layers), tuple(heads), tuple(inputs), width, tokens, batch, seed))


@st.composite
def _layer(
    draw: st.DrawFn, more: st.SearchStrategy[bool] | None, names: tuple[str, ...], sizes: tuple[int, ...], most: int
) -> Layer | None:
    """A layer behind others, or None for no more. One strategy draws both, so that a layer that does not matter is dropped as a whole.

    sizes: features of the values that it may read. most: features it may give.
    """
    if more is not None and not draw(more):
        return None
    kind = KINDS[draw(st.sampled_from(names))]
    # the latest values first, so that a shrunk architecture is a chain
    back = [draw(_BACK), *(draw(_FURTHER_BACK) for _ in range(kind.reads - 1))]
    reads = tuple(len(sizes) - 1 - offset % len(sizes) for offset in back)
    own = draw(st.integers(1, most)) if kind.weights else 1
    frozen, tied = kind.weights and draw(_RARELY), kind.tie and draw(_RARELY)
    if kind.name == "concat" and sizes[reads[0]] + sizes[reads[1]] > WIDEST:
        kind = KINDS["residual"]
    return Layer(kind.name, reads, own, frozen, tied)


def _width(kind: str, own: int, given: list[int]) -> int:
    """Features of a layer's result."""
    if kind in ("linear", "conv1d", "glu", "recurrence", "gated_recurrence"):
        return own
    return {"concat": sum(given), "split": 2 * own, "layer_norm": max(given[0], 3), "group_norm": max(given[0], 2)}.get(kind, given[0])


def _known(kinds: Iterable[str] | None) -> tuple[str, ...]:
    names = tuple(KINDS) if kinds is None else tuple(kinds)
    unknown = [name for name in names if name not in KINDS]
    if unknown or not names:
        name = unknown[0] if unknown else ""
        raise BadInput(f"there is no kind of layer '{name}'.{near_miss(name, KINDS)} They are {', '.join(KINDS)}")
    return names


@st.composite
def traced_cases(draw: st.DrawFn, /, **options: Any) -> TracedCase:
    """Cases with their program and reference gradients: what ``mutants`` and the engines take. options: of ``architectures``.

    An architecture that does not pass the baseline gate is drawn again; docs/fuzzing.md says how many.
    """
    try:
        return remember(gated(draw(architectures(**options))))
    except Refused:
        assume(False)
        raise


def cases(**options: Any) -> st.SearchStrategy[Case]:
    """Correct training cases, ``gradfuzz.Case``: model, batch, loss, optimizer, declared stops. options: of ``architectures``."""
    return traced_cases(**options).map(lambda traced: traced.case)


@st.composite
def mutants(draw: st.DrawFn, case: Case | TracedCase, operators: Iterable[str] | None = None) -> Broken:
    """One break of a case, drawn or your own; ``broken.case()`` is its live form, ``broken.truth`` what it did.

    operators: names or families; unless given, all that edit the program, and none that edits the training loop around it.
    Raises ``Refused`` for a case that does not pass the baseline gate.
    """
    traced = traced_of(case)
    step = draw(st.sampled_from(_steps(traced, select(operators) if operators else editing_the_program(None))))
    return mutation.broken(traced, (step,))


@st.composite
def higher_order_mutants(draw: st.DrawFn, case: Case | TracedCase, order: int = 2, operators: Iterable[str] | None = None) -> Broken:
    """Several breaks in one case, at as many different sites. ``broken.masked`` names those that no measurement can see beside the others.

    operators: as for ``mutants``, without those that edit the training loop. Raises ``BadInput`` for an order below two.
    """
    if order < 2:
        raise BadInput(f"a mutant of order {order} is not of higher order: give 2 or more, or draw from mutants()")
    traced = traced_of(case)
    steps = _steps(traced, editing_the_program(operators))
    chosen = draw(st.lists(st.sampled_from(steps), min_size=order, max_size=order, unique_by=lambda step: step.mutant.site))
    made = mutation.compose(traced, tuple(chosen))
    assume(made is not None)
    assert made is not None
    return made


def editing_the_program(names: Iterable[str] | None) -> list[Operator]:
    """Those of some operators, by name or family, that edit the program."""
    return [one for one in select(names) if one.family not in CASE_FAMILIES]


def _steps(traced: TracedCase, operators: list[Operator]) -> list[mutation.Step]:
    steps = mutation.steps(traced, operators)
    assume(steps)
    return steps
