"""Operators that bring values where arithmetic fails gradients: saturation, underflow, infinities, the edges of a domain."""

from __future__ import annotations

import torch

from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import functions as fn
from gradfuzz.operators import operator
from gradfuzz.operators.draft import Draft, argument, is_float_tensor
from gradfuzz.operators.where import SOFTMAX, calls, has_zeros, one_tensor, shape_of, softmax_dim
from gradfuzz.records import Kind, Site

ANY = "raises nonfinite dead vanished altered equivalent unstable"
SATURATES = {"sigmoid", "tanh", "hardsigmoid", "hardtanh", "scaled_dot_product_attention", "binary_cross_entropy_with_logits"}
LOSS = {"cross_entropy_loss"}


@operator(
    "saturate", family="numeric", on=(Kind.NODE,), where=calls(SATURATES, SOFTMAX, LOSS), may=ANY, example="corpus:gru::saturate::tanh"
)
def saturate(draft: Draft, site: Site) -> None:
    """Multiply by 10000 what goes into a sigmoid, tanh, softmax, attention or cross-entropy."""
    draft.before(site.value, 0, fn.scaled, 1e4)


@operator(
    "double-softmax", family="numeric", on=(Kind.NODE,), where=calls(SOFTMAX, LOSS), may=ANY,
    example="corpus:mlp::double-softmax::loss_cross_entropy_loss",
)  # fmt: skip
def double_softmax(draft: Draft, site: Site) -> None:
    """Take a softmax of what goes into a softmax or into the cross-entropy."""
    draft.before(site.value, 0, fn.softmax, softmax_dim(draft.traced, site.value))


def other_dim(traced: TracedCase, name: str) -> int | None:
    """The dimension next to that of a softmax, to its left if possible, that has more than one element."""
    shape, dim = shape_of(traced, name), softmax_dim(traced, name)
    return next((other for other in (*range(dim - 1, -1, -1), *range(dim + 1, len(shape))) if shape[other] > 1), None)


def has_other_dim(traced: TracedCase, site: Site) -> bool:
    return calls(SOFTMAX)(traced, site) and other_dim(traced, site.value) is not None


@operator(
    "wrong-softmax-dim", family="numeric", on=(Kind.NODE,), where=has_other_dim, may=ANY, example="corpus:moe::wrong-softmax-dim::softmax"
)
def wrong_softmax_dim(draft: Draft, site: Site) -> None:
    """Take a softmax over another dimension."""
    call = draft.instruction(site.value)
    draft.call(site.value, call.target, call.args[0], other_dim(draft.traced, site.value), *call.args[2:], **call.kwargs)


@operator(
    "underflow-cast", family="numeric", on=(Kind.NODE,), where=one_tensor, may=ANY, variants=("float16", "float8"),
    example="corpus:mlp::underflow-cast::m0#1",
)  # fmt: skip
def underflow_cast(draft: Draft, site: Site, variant: str) -> None:
    """Cast to float16 or float8 and back, without scaling the loss: gradients below 3e-8 or 0.001 become zero on their way back."""
    draft.after(site, fn.cast_round_trip, torch.float16 if variant == "float16" else torch.float8_e4m3fn)


@operator("scale-tiny", family="numeric", on=(Kind.NODE,), where=one_tensor, may=ANY, example="corpus:mlp::scale-tiny::m1")
def scale_tiny(draft: Draft, site: Site) -> None:
    """Multiply a value by 1e-30."""
    draft.after(site, fn.scaled, 1e-30)


@operator("sqrt-at-zero", family="numeric", on=(Kind.NODE,), where=has_zeros, may=ANY, example="corpus:lora::sqrt-at-zero::m0_matmul_1")
def sqrt_at_zero(draft: Draft, site: Site) -> None:
    """Take the square root of the square of a value that is zero somewhere: infinity times zero on the way back."""
    draft.after(site, fn.root_of_square)


@operator("unsafe-log", family="numeric", on=(Kind.NODE,), where=has_zeros, may=ANY, example="corpus:attention::unsafe-log::softmax")
def unsafe_log(draft: Draft, site: Site) -> None:
    """Guard a logarithm by torch.where: the branch that is not taken still gives 0/0 on the way back."""
    draft.after(site, fn.log_where_positive)


def normalises_several(traced: TracedCase, site: Site) -> bool:
    return calls(SOFTMAX)(traced, site) and shape_of(traced, site.value)[softmax_dim(traced, site.value)] > 1


@operator(
    "inf-mask-before-scale", family="numeric", on=(Kind.NODE,), where=normalises_several, may=ANY,
    example="corpus:transformer::inf-mask-before-scale::blocks_0_softmax",
)  # fmt: skip
def inf_mask_before_scale(draft: Draft, site: Site) -> None:
    """Mask the last score of a softmax with -inf, then divide by a scale taken from the scores: 0 times inf on the way back."""
    draft.before(site.value, 0, fn.mask_then_scale, softmax_dim(draft.traced, site.value))


BY_HAND = {"log_sigmoid": fn.logarithm_of_sigmoid, "softplus": fn.logarithm_of_one_plus_exponential}


def has_plain_form(traced: TracedCase, site: Site) -> bool:
    """A stable function that is called in its plain form: no weights, no smoothing, the mean of a loss."""
    call = traced.program.by_name[site.value]
    if call.op in LOSS:
        plain = argument(call, "weight") is None and argument(call, "label_smoothing") == 0 and argument(call, "reduction") == 1
        return plain and not is_float_tensor(traced.values[call.args[1].name])
    if call.op == "binary_cross_entropy_with_logits":
        return len(call.args) == 2 and not call.kwargs
    return calls(BY_HAND, {"logsumexp", "log_softmax"})(traced, site) and (call.op != "softplus" or len(call.args) == 1)


@operator(
    "naive-formula", family="numeric", on=(Kind.NODE,), where=has_plain_form, may=ANY,
    example="corpus:bugs/scae-4-log-of-a-sum-of-exponentials::naive-formula::logsumexp",
)  # fmt: skip
def naive_formula(draft: Draft, site: Site) -> None:
    """Write a stable function out by hand, as the logarithm of a softmax, a sigmoid or a sum of exponentials: it overflows earlier."""
    call = draft.instruction(site.value)
    value = call.args[0]
    if call.op in LOSS:
        draft.call(site.value, fn.cross_entropy_by_hand, value, call.args[1], argument(call, "ignore_index"))
    elif call.op == "binary_cross_entropy_with_logits":
        draft.call(site.value, fn.cross_entropy_of_sigmoid, value, call.args[1])
    elif call.op == "logsumexp":
        draft.call(site.value, fn.logarithm_of_exponentials, value, call.args[1], argument(call, "keepdim"))
    elif call.op == "log_softmax":
        draft.call(site.value, fn.logarithm_of_softmax, value, call.args[1])
    else:
        draft.call(site.value, BY_HAND[call.op], value)


def weights(traced: TracedCase, site: Site) -> bool:
    """Positive numbers that say how much of each there is: of a softmax, sigmoid or exponential, or the largest of several."""
    call = traced.program.by_name[site.value]
    chosen = call.op == "getitem" and call.args[1] == 0 and traced.program.by_name[call.args[0].name].op in ("topk", "max")
    return (
        one_tensor(traced, site) and (chosen or call.op in ("softmax", "sigmoid", "exp", "softplus")) and bool(shape_of(traced, site.value))
    )


@operator("normalise-by-sum", family="numeric", on=(Kind.NODE,), where=weights, may=ANY, example="corpus:gru::normalise-by-sum::sigmoid")
def normalise_by_sum(draft: Draft, site: Site) -> None:
    """Divide weights by their sum over the last dimension: a single one is always 1, and its gradient cancels."""
    draft.after(site, fn.divided_by_its_sum)
