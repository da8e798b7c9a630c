"""Operators that stop or pass gradients at the wrong place, while no value changes."""

from __future__ import annotations

from functools import partial

from gradfuzz.graph.program import Instruction, Ref
from gradfuzz.graph.sites import at, carries_gradient, enumerate_sites
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import functions as fn
from gradfuzz.operators import operator
from gradfuzz.operators.draft import Draft
from gradfuzz.operators.path import alike
from gradfuzz.operators.where import ACTIVATIONS, TRANSPOSES, calls, shape_of
from gradfuzz.records import Kind, Site

PASSES_ALREADY = frozenset({"contiguous", "clone", "add", "sub", "alias", "dropout", *TRANSPOSES})

on_call = partial(operator, family="straight_through", on=(Kind.NODE,))


def carried(traced: TracedCase, call: Instruction) -> str | None:
    """The value that a call without parameters of its own changes in place, so to speak: of the result's shape, and with gradient."""
    first = call.args[0] if call.args else None
    if not isinstance(first, Ref) or call.op in PASSES_ALREADY or not alike(traced, first.name, call.name):
        return None
    others = [name for name in call.reads if name != first.name and name.startswith("parameter:")]
    return first.name if carries_gradient(traced, first.name) and not others else None


def passes(traced: TracedCase, site: Site) -> bool:
    return carried(traced, traced.program.by_name[site.value]) is not None


@on_call("straight-through", may="dead vanished altered equivalent", where=passes, example="corpus:gru::straight-through::tanh")
def straight_through(draft: Draft, site: Site) -> None:
    """Write the result of a call through .data: gradients pass as if the call had done nothing."""
    value = carried(draft.traced, draft.instruction(site.value))
    assert value is not None
    draft.after(site, fn.written_through_data, Ref(value), preserves=True)


def passes_several(traced: TracedCase, site: Site) -> bool:
    """The same, with two elements or more in the first and in the last dimension."""
    shape = shape_of(traced, site.value)
    return passes(traced, site) and bool(shape) and shape[0] > 1 and shape[-1] > 1


@on_call(
    "partial-backward",
    may="dead vanished altered equivalent",
    where=passes_several,
    variants=("first feature", "first sample"),
    example="corpus:mlp::partial-backward::m1",
)
def partial_backward(draft: Draft, site: Site, variant: str) -> None:
    """Let gradients back through the first feature or sample alone, as a derivative does that was filled in only there."""
    draft.after(site, fn.first_keeps_gradient, -1 if variant == "first feature" else 0, preserves=True)


def activations(draft: Draft, site: Site) -> list[str]:
    return [name for name in draft.inside(site) if calls(ACTIVATIONS)(draft.traced, Site(Kind.NODE, name))]


def modules_with_activations(traced: TracedCase) -> list[Site]:
    """Of several modules with the same activations the outermost."""
    found: dict[tuple[str, ...], Site] = {}
    for site in enumerate_sites(traced, Kind.MODULE):
        found.setdefault(tuple(activations(Draft(traced), site)), site)
    return [site for names, site in found.items() if names]


@on_call(
    "leftover-hook", may="dead altered equivalent", on=(Kind.MODULE,), find=modules_with_activations, example="corpus:mlp::leftover-hook::."
)
def leftover_hook(draft: Draft, site: Site) -> None:
    """Leave the hooks of a visualiser on the activations of a module: they keep only the positive part of each gradient."""
    for name in activations(draft, site):
        draft.before(name, 0, fn.clamped_gradient, preserves=True)


def opposite(traced: TracedCase) -> list[Site]:
    """For each stop of the subject the values that it is joined with, on their way there."""
    program = traced.program
    found: dict[str, Site] = {}
    for stopped in (i for i in program.instructions if i.stop and i.grad and carries_gradient(traced, i.args[0].name)):
        below = {stopped.name}
        for call in program.instructions[program.position[stopped.name] + 1 :]:
            if not set(call.reads) & below:
                continue
            others = [name for name in call.reads if name in program.by_name and name not in below and carries_gradient(traced, name)]
            for other in others:
                site = at(call, Kind.EDGE, other, call.name)
                found.setdefault(site.text, site)
            if not others:
                below.add(call.name)
    return list(found.values())


def stop_beside(draft: Draft, site: Site) -> str:
    """The stop from which the other values that the user of an edge reads come."""
    program = draft.traced.program
    origins = set().union(*(program.ancestors(name) for name in program.by_name[site.user].reads if name != site.value))
    return next(i.name for i in reversed(program.instructions) if i.name in origins and i.stop and i.grad)


@on_call(
    "stop-wrong-branch",
    may="dead altered equivalent",
    on=(Kind.EDGE,),
    find=opposite,
    example="corpus:siamese::stop-wrong-branch::predictor_2->sub",
)
def stop_wrong_branch(draft: Draft, site: Site) -> None:
    """Stop the gradient of the other branch: detach what a stopped value is joined with, and not that value."""
    stop = stop_beside(draft, site)
    draft.after(site, fn.detach)
    draft.call(stop, fn.identity, draft.instruction(stop).args[0])
