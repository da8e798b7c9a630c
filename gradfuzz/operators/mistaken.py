"""Operators that take one thing for another: operands, parameters, masks, and how often a call is made."""

from __future__ import annotations

from functools import partial

import torch

from gradfuzz.graph.program import Instruction, Ref
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import functions as fn
from gradfuzz.operators import operator
from gradfuzz.operators.draft import Draft, argument, data_input
from gradfuzz.operators.path import alike
from gradfuzz.operators.where import ACTIVATIONS, SOFTMAX, calls, runs, shape_of
from gradfuzz.records import Kind, Site

IDEMPOTENT = frozenset({"relu", "relu6", "hardtanh"})
SHAPED = frozenset({"flatten", "reshape", "view", "unflatten", "squeeze", "unsqueeze", "expand", *("transpose", "permute", "numpy_T", "t")})

on_call = partial(operator, family="mistaken", on=(Kind.NODE,))


def pairs(traced: TracedCase, call: Instruction) -> bool:
    """The first two arguments are tensors of equal shape."""
    both = [value.name for value in call.args[:2] if isinstance(value, Ref)]
    return len(both) == 2 and alike(traced, *both)


def swaps(traced: TracedCase, site: Site) -> bool:
    """A difference, quotient or product of matrices of equal shape, or several values of equal shape in a row."""
    call = traced.program.by_name[site.value]
    if call.op in ("cat", "stack"):
        return len(call.args[0]) > 1 and all(alike(traced, call.args[0][0].name, ref.name) for ref in call.args[0][1:])
    if call.op in ("sub", "rsub"):
        number = len(call.args) == 2 and isinstance(call.args[1], (int, float)) and not call.kwargs
        return calls({call.op})(traced, site) and (number or pairs(traced, call))
    return call.op in ("div", "matmul", "bmm", "mm", "kl_div", "binary_cross_entropy") and pairs(traced, call)


@on_call("swap-operands", may="nonfinite dead altered equivalent", where=swaps, example="corpus:gru::swap-operands::rsub")
def swap_operands(draft: Draft, site: Site) -> None:
    """Exchange what a difference, quotient or product of matrices takes, or reverse the order of what is put in a row."""
    call = draft.instruction(site.value)
    first, second = call.args[0], call.args[1] if len(call.args) > 1 else None
    if isinstance(first, list):
        draft.call(site.value, call.target, first[::-1], *call.args[1:], **call.kwargs)
    elif isinstance(second, Ref):
        draft.call(site.value, call.target, second, first, *call.args[2:], **call.kwargs)
    else:
        draft.call(site.value, fn.subtracted_from if call.op == "sub" else fn.less, first, second)


def own_parameters(call: Instruction) -> list[str]:
    return [name for name in call.reads if name.startswith("parameter:")]


def namesake(traced: TracedCase, site: Site) -> Instruction | None:
    """The nearest call, an earlier one if there is, of the same kind with other parameters of equal shapes."""
    program, call = traced.program, traced.program.by_name[site.value]
    mine, here = own_parameters(call), program.position[site.value]
    shapes = [shape_of(traced, name) for name in mine]
    for other in (*reversed(program.instructions[:here]), *program.instructions[here + 1 :]):
        theirs = own_parameters(other)
        if other.op == call.op and mine and not set(theirs) & set(mine) and [shape_of(traced, name) for name in theirs] == shapes:
            return other
    return None


@on_call(
    "wrong-parameter",
    may="dead altered equivalent",
    where=lambda traced, site: namesake(traced, site) is not None,
    example="corpus:moe::wrong-parameter::experts_1_0",
)
def wrong_parameter(draft: Draft, site: Site) -> None:
    """Compute a layer with the parameters of another one of the same shape; its own are no longer used there."""
    other = namesake(draft.traced, site)
    assert other is not None
    for mine, theirs in zip(own_parameters(draft.instruction(site.value)), own_parameters(other), strict=True):
        draft.reads(site.value, mine, theirs)


def repeats(traced: TracedCase, site: Site) -> bool:
    """A call that can take its own result, and that makes something else of it."""
    call = traced.program.by_name[site.value]
    layer = call.op in ("linear", "layer_norm") or call.op.startswith("conv")
    wanted = layer or call.op in (ACTIVATIONS | SOFTMAX) - IDEMPOTENT - {"log_softmax"}
    given = data_input(call)
    return wanted and given is not None and alike(traced, given, site.value)


@on_call("repeat-call", may="dead altered equivalent", where=repeats, example="corpus:gru::repeat-call::tanh")
def repeat_call(draft: Draft, site: Site) -> None:
    """Apply an activation, normalisation or layer twice."""
    call = draft.instruction(site.value)
    given = data_input(call)
    rest = [value for value in call.args if value != Ref(given or "")]
    draft.after(site, call.target, *rest, **call.kwargs)


def followed(traced: TracedCase, site: Site) -> tuple[Instruction, str] | None:
    """The call whose result a call alone reads and passes on in the same shape, and the value of that shape that it takes itself."""
    program, second = traced.program, traced.program.by_name[site.value]
    passed = [name for name in second.reads if name in program.by_name and alike(traced, name, second.name)]
    first = program.by_name[passed[0]] if passed else None
    if first is None or program.users[first.name] != (second.name,) or first.op == second.op or first.stop:
        return None
    given = next((name for name in first.reads if alike(traced, name, first.name) and not name.startswith("parameter:")), None)
    known = all(program.position.get(name, -1) <= program.position[first.name] for name in second.reads)
    return (first, given) if given and known else None


@on_call("swap-order", may="nonfinite dead vanished altered equivalent", where=lambda traced, site: followed(traced, site) is not None,
         example="corpus:cnn::swap-order::m0_2")  # fmt: skip
def swap_order(draft: Draft, site: Site) -> None:
    """Make two calls in a row in the other order."""
    second, found = draft.instruction(site.value), followed(draft.traced, site)
    assert found is not None
    first, given = found
    draft.call(first.name, second.target, *second.args, **second.kwargs)
    draft.reads(first.name, first.name, given)
    draft.call(second.name, first.target, *first.args, **first.kwargs)
    draft.reads(second.name, given, first.name)


def unshaped(draft: Draft, site: Site) -> None:
    draft.call(site.value, fn.identity, draft.instruction(site.value).args[0])


def needs_no_shape(traced: TracedCase, site: Site) -> bool:
    """The program runs without a change of shape."""
    call = traced.program.by_name[site.value]
    changed = calls(SHAPED)(traced, site) and shape_of(traced, call.args[0].name) != shape_of(traced, site.value)
    return changed and runs(unshaped)(traced, site)


@on_call(
    "skip-reshape",
    may="altered equivalent",
    where=needs_no_shape,
    example="corpus:bugs/wgan-gp-47-penalty-norm-over-one-axis::skip-reshape::flatten_1",
)
def skip_reshape(draft: Draft, site: Site) -> None:
    """Leave out a change of shape where everything broadcasts or reduces all the same."""
    unshaped(draft, site)


MASKS = {"masked_fill": 1, "where": 0}


def masks(traced: TracedCase, site: Site) -> bool:
    """A choice by a boolean mask."""
    call = traced.program.by_name[site.value]
    mask = call.args[MASKS[call.op]] if call.op in MASKS and len(call.args) > 2 else None
    return isinstance(mask, Ref) and traced.values[mask.name].dtype is torch.bool


@on_call("invert-mask", may="nonfinite altered equivalent", where=masks, example="corpus:moe::invert-mask::masked_fill")
def invert_mask(draft: Draft, site: Site) -> None:
    """Read a mask the wrong way round: what was to be kept is masked."""
    draft.before(site.value, MASKS[draft.instruction(site.value).op], fn.opposite)


def fills_very_low(traced: TracedCase, site: Site) -> bool:
    filled = argument(traced.program.by_name[site.value], "value")
    return traced.program.by_name[site.value].op == "masked_fill" and isinstance(filled, (int, float)) and filled <= -1e3


@on_call("wrong-mask-value", may="invalid altered equivalent", where=fills_very_low, variants=("0", "-1e10"),
         example="corpus:attention::wrong-mask-value::masked_fill")  # fmt: skip
def wrong_mask_value(draft: Draft, site: Site, variant: str) -> None:
    """Mask scores with zeros, so that they still take part, or with a number that half precision does not have."""
    draft.set_argument(site.value, "value", float(variant))
