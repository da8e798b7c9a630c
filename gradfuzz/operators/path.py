"""Operators that lead values along another path: skipped, dropped, mistaken for another, or no longer stopped."""

from __future__ import annotations

from itertools import groupby

from gradfuzz.graph.program import Instruction, Ref
from gradfuzz.graph.sites import at, carries_gradient
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import functions as fn
from gradfuzz.operators import operator
from gradfuzz.operators.draft import Draft, data_input, is_float_tensor
from gradfuzz.operators.where import shape_of
from gradfuzz.records import Kind, Site

ANY = "raises nonfinite dead vanished altered equivalent unstable"


def alike(traced: TracedCase, one: str, other: str) -> bool:
    """Two floating tensors of equal shape and dtype."""
    first, second = traced.values[one], traced.values[other]
    return is_float_tensor(first) and (first.shape, first.dtype) == (second.shape, second.dtype)


def can_be_bypassed(traced: TracedCase, site: Site) -> bool:
    """The result has the shape of what goes in, and is more than a copy of it."""
    instruction = traced.program.by_name[site.value]
    given = data_input(instruction)
    return given is not None and instruction.op != "contiguous" and alike(traced, given, site.value)


@operator("bypass-node", family="path", on=(Kind.NODE,), where=can_be_bypassed, may=ANY, example="corpus:mlp::bypass-node::m2")
def bypass_node(draft: Draft, site: Site) -> None:
    """Leave a call out: its input goes on in the place of its result."""
    draft.call(site.value, fn.identity, Ref(data_input(draft.instruction(site.value)) or ""))


def branches(instruction: Instruction) -> list[Ref]:
    """The values that a call joins: the two of ``add``, ``sub``, ``mul``, all of ``cat``. Empty if it joins none, or with a factor."""
    if instruction.op == "cat":
        return list(instruction.args[0])
    joined = [value for value in instruction.args if isinstance(value, Ref)]
    return joined if instruction.op in ("add", "sub", "mul") and len(instruction.args) == 2 and not instruction.kwargs else []


def joins(traced: TracedCase, site: Site) -> bool:
    """Two floating tensors or more, all of one dtype."""
    joined = [traced.values[ref.name] for ref in branches(traced.program.by_name[site.value])]
    return len(joined) > 1 and all(is_float_tensor(value) for value in joined) and len({value.dtype for value in joined}) == 1


@operator(
    "drop-branch", family="path", on=(Kind.NODE,), where=joins, may=ANY, variants=("left", "right"),
    example="corpus:residual-mlp::drop-branch::m1_add",
)  # fmt: skip
def drop_branch(draft: Draft, site: Site, variant: str) -> None:
    """Leave out the first or the last of the values that an addition, subtraction, product or concatenation joins."""
    call, joined = draft.instruction(site.value), branches(draft.instruction(site.value))
    dropped = joined.pop(0 if variant == "left" else -1)
    if call.op == "cat":
        dim, index = call.args[1] if len(call.args) > 1 else 0, 0 if variant == "left" else len(joined)
        draft.call(site.value, fn.cat_with_zeros, joined, dim, index, list(shape_of(draft.traced, dropped.name)))
    elif call.op == "sub" and variant == "left":
        draft.call(site.value, fn.broadcast_negative, joined[0], list(shape_of(draft.traced, site.value)))
    else:
        draft.call(site.value, fn.broadcast, joined[0], list(shape_of(draft.traced, site.value)))


def nearest_alike(traced: TracedCase, value: str, user: str) -> str | None:
    """The last value computed before ``user`` that could be mistaken for ``value``: same shape and dtype, and it carries gradient."""
    earlier = reversed(traced.program.instructions[: traced.program.position[user]])
    names = (i.name for i in earlier if i.name != value and carries_gradient(traced, i.name))
    return next((name for name in names if alike(traced, name, value)), None)


def confusable(traced: TracedCase) -> list[Site]:
    """Every use of a value for which an earlier one could be mistaken."""
    return [
        at(user, Kind.EDGE, read, user.name)
        for user in traced.program.instructions
        for read in user.reads
        if carries_gradient(traced, read) and read in traced.program.by_name and nearest_alike(traced, read, user.name)
    ]


@operator("wrong-tensor", family="path", on=(Kind.EDGE,), find=confusable, may=ANY, example="corpus:residual-mlp::wrong-tensor::m0->m1_add")
def wrong_tensor(draft: Draft, site: Site) -> None:
    """Read another value of the same shape, the last one computed before."""
    other = nearest_alike(draft.traced, site.value, site.user)
    assert other is not None
    draft.reads(site.user, site.value, other)
    if draft.instruction(site.user).op == "view":
        draft.after(Site(Kind.EDGE, other, site.user), fn.identity)


def stops(traced: TracedCase) -> list[Site]:
    """The subject's own stops: each detach of a value that carries gradient, and each no_grad region as a span."""
    found = []
    for grad, run in groupby(traced.program.instructions, key=lambda instruction: instruction.grad):
        group = list(run)
        if grad:
            found += [at(i, Kind.NODE, i.name) for i in group if i.stop and carries_gradient(traced, i.args[0].name)]
        elif any(carries_gradient(traced, read) for i in group for read in i.reads):
            found.append(at(group[0], Kind.SPAN, group[0].name, group[-1].name))
    return found


@operator(
    "remove-detach", family="path", on=(Kind.NODE, Kind.SPAN), find=stops, may="nonfinite dead vanished altered equivalent unstable",
    example="corpus:siamese::remove-detach::detach",
)  # fmt: skip
def remove_detach(draft: Draft, site: Site) -> None:
    """Take away a stop of gradients that the subject has by intent: a detach, or a no_grad region."""
    if site.kind is Kind.SPAN:
        first, last = draft.traced.program.position[site.value], draft.traced.program.position[site.user]
        draft.resume_grad(i.name for i in draft.traced.program.instructions[first : last + 1])
    else:
        draft.call(site.value, fn.identity, draft.instruction(site.value).args[0])
