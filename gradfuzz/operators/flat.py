"""Operators that make the function flat, so that its honest gradient is zero."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from gradfuzz.operators import functions as fn
from gradfuzz.operators import operator
from gradfuzz.operators.draft import Draft
from gradfuzz.operators.where import ACTIVATIONS, RECTIFIERS, SOFTMAX, calls, one_tensor, shape_of, softmax_dim
from gradfuzz.records import Kind, Site

ANY = "raises nonfinite dead vanished altered equivalent unstable"
INTERPOLATIONS = {"upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d"}

on_value = partial(operator, family="flat", on=(Kind.NODE,), where=one_tensor, may=ANY)
on_activation = partial(operator, family="flat", on=(Kind.NODE,), where=calls(ACTIVATIONS), may=ANY)


def replace_call(draft: Draft, site: Site, function: Callable[..., Any], *args: Any) -> None:
    """Call a function on the first argument in the place of what was called."""
    draft.call(site.value, function, draft.instruction(site.value).args[0], *args)


def feature_dim(draft: Draft, site: Site) -> int:
    """The dimension of the features: that of a softmax, the channels of an image, else the last."""
    if draft.instruction(site.value).op in SOFTMAX:
        return softmax_dim(draft.traced, site.value)
    dims = len(shape_of(draft.traced, site.value))
    return 1 if dims in (4, 5) else dims - 1


@on_activation("activation-to-relu", where=calls(ACTIVATIONS - RECTIFIERS), example="corpus:gru::activation-to-relu::tanh")
def activation_to_relu(draft: Draft, site: Site) -> None:
    """Replace an activation by a ReLU, which is dead where all that goes in is negative."""
    replace_call(draft, site, fn.relu)


@on_activation("activation-to-sign", example="corpus:mlp::activation-to-sign::m1")
def activation_to_sign(draft: Draft, site: Site) -> None:
    """Replace an activation by the sign."""
    replace_call(draft, site, fn.sign)


@on_activation("activation-to-heaviside", example="corpus:mlp::activation-to-heaviside::m1")
def activation_to_heaviside(draft: Draft, site: Site) -> None:
    """Replace an activation by the step function, written as a comparison."""
    replace_call(draft, site, fn.step)


@on_activation("activation-to-round", example="corpus:mlp::activation-to-round::m1")
def activation_to_round(draft: Draft, site: Site) -> None:
    """Replace an activation by rounding."""
    replace_call(draft, site, fn.rounded)


@on_activation("activation-to-floor", example="corpus:mlp::activation-to-floor::m1")
def activation_to_floor(draft: Draft, site: Site) -> None:
    """Replace an activation by rounding down."""
    replace_call(draft, site, fn.rounded_down)


@on_activation("activation-to-hard-threshold", example="corpus:gru::activation-to-hard-threshold::sigmoid")
def activation_to_hard_threshold(draft: Draft, site: Site) -> None:
    """Turn what an activation gives into zeros and ones, by comparing it with 0.5."""
    draft.after(site, fn.above, 0.5)


@on_activation(
    "activation-to-argmax-one-hot", where=calls(ACTIVATIONS, SOFTMAX), example="corpus:attention::activation-to-argmax-one-hot::softmax"
)
def activation_to_argmax_one_hot(draft: Draft, site: Site) -> None:
    """Replace an activation or softmax by the one-hot code of its largest feature."""
    replace_call(draft, site, fn.one_hot_of_argmax, feature_dim(draft, site))


@on_activation("activation-to-top-k-mask", example="corpus:mlp::activation-to-top-k-mask::m1")
def activation_to_top_k_mask(draft: Draft, site: Site) -> None:
    """Replace an activation by a mask of the larger half of its features."""
    dim = feature_dim(draft, site)
    replace_call(draft, site, fn.top_k_mask, (shape_of(draft.traced, site.value)[dim] + 1) // 2, dim)


@on_activation("softmax-over-singleton", where=calls(ACTIVATIONS, {"softmax"}), example="corpus:moe::softmax-over-singleton::softmax")
def softmax_over_singleton(draft: Draft, site: Site) -> None:
    """Replace an activation or softmax by a softmax over a dimension of size one: all ones."""
    replace_call(draft, site, fn.softmax_over_singleton)


@on_value("cast-round-trip", example="corpus:mlp::cast-round-trip::m0")
def cast_round_trip(draft: Draft, site: Site) -> None:
    """Cast a value to integers and back."""
    draft.after(site, fn.through_integers)


@on_value("floor-division", example="corpus:mlp::floor-division::m0")
def floor_division(draft: Draft, site: Site) -> None:
    """Divide a value by one with //."""
    draft.after(site, fn.floor_divided, 1.0)


def interpolates(traced: Any, site: Site) -> bool:
    """An interpolation with neighbours, or a grid sample that is not nearest already."""
    instruction = traced.program.by_name[site.value]
    return instruction.op in INTERPOLATIONS or (instruction.op.startswith("grid_sampler") and instruction.args[2] != 1)


@operator(
    "nearest-instead-of-bilinear", family="flat", on=(Kind.NODE,), where=interpolates, may="dead vanished altered equivalent unstable",
    example="corpus:unet::nearest-instead-of-bilinear::upsample_bilinear2d",
)  # fmt: skip
def nearest_instead_of_bilinear(draft: Draft, site: Site) -> None:
    """Take the nearest pixel instead of interpolating: a sampling grid gets no gradient then."""
    instruction = draft.instruction(site.value)
    if instruction.op in INTERPOLATIONS:
        replace_call(draft, site, fn.resize_to_nearest, list(shape_of(draft.traced, site.value)[2:]))
    else:
        image, grid, _, *rest = instruction.args
        draft.call(site.value, instruction.target, image, grid, 1, *rest, **instruction.kwargs)


@on_value("clamp-to-narrow-range", example="corpus:mlp::clamp-to-narrow-range::m0")
def clamp_to_narrow_range(draft: Draft, site: Site) -> None:
    """Clamp a value to [-0.001, 0.001]: nearly all of it sticks to an end."""
    draft.after(site, fn.clamped, -1e-3, 1e-3)


@on_value("constant-where-branch", example="corpus:mlp::constant-where-branch::m0")
def constant_where_branch(draft: Draft, site: Site) -> None:
    """Send a value through torch.where with a condition that picks the constant everywhere."""
    draft.after(site, fn.constant_where, 1.0)


@on_value("boolean-mask", variants=("the mask alone", "the masked value"), example="corpus:mlp::boolean-mask::m0")
def boolean_mask(draft: Draft, site: Site, variant: str) -> None:
    """Compare a value with its mean, and go on with the mask, or with what the mask leaves of the value."""
    draft.after(site, fn.mask_above_mean if variant == "the mask alone" else fn.masked_above_mean)
