"""The torch code that operators put into a program. Plain functions: `gradfuzz show --script` prints their source as it stands here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def each(function: Any, value: Any) -> Any:
    """Apply a function to a tensor, or to every tensor of a tuple or list."""
    return type(value)(each(function, item) for item in value) if isinstance(value, (tuple, list)) else function(value)


def detach(value: Any) -> Any:
    return each(torch.Tensor.detach, value)


def data(value: Any) -> Any:
    return each(lambda tensor: tensor.data, value)


def rebuild(value: Tensor) -> Tensor:
    return torch.tensor(value.tolist(), dtype=value.dtype, device=value.device)


def rebuild_with_warning(value: Tensor) -> Tensor:
    return torch.tensor(value)


def numpy_round_trip(value: Tensor) -> Tensor:
    return torch.from_numpy(value.detach().cpu().numpy()).to(value.device)


def detach_then_requires_grad(value: Tensor) -> Tensor:
    return value.detach().requires_grad_()


def rewrap_as_parameter(value: Tensor) -> Tensor:
    return nn.Parameter(value.detach())


def zero_hook(value: Tensor) -> Tensor:
    result = value.view_as(value)
    if result.requires_grad:
        result.register_hook(torch.zeros_like)
    return result


class WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, how: str) -> Tensor:
        ctx.how = how
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        wrong = {"zeros": torch.zeros_like(gradient), "none": None, "doubled": 2 * gradient, "negated": -gradient}
        return wrong[ctx.how], None


def wrong_backward(value: Tensor, how: str) -> Tensor:
    return WrongBackward.apply(value, how)  # type: ignore[no-any-return, no-untyped-call]


def set_requires_grad(value: Tensor, flag: bool) -> Tensor:
    return value.requires_grad_(flag)


def identity(value: Tensor) -> Tensor:
    return value.contiguous()  # as the fresh result of a call would be, so that a later view() works


def broadcast(value: Tensor, shape: list[int]) -> Tensor:
    return value.expand(shape).contiguous()


def broadcast_negative(value: Tensor, shape: list[int]) -> Tensor:
    return (-value).expand(shape).contiguous()


def cat_with_zeros(values: list[Tensor], dim: int, index: int, shape: list[int]) -> Tensor:
    zeros = values[0].new_zeros(shape)
    return torch.cat([*values[:index], zeros, *values[index:]], dim)


def sign(value: Tensor) -> Tensor:
    return torch.sign(value)


def step(value: Tensor) -> Tensor:
    return (value > 0).to(value.dtype)


def rounded(value: Tensor) -> Tensor:
    return torch.round(value)


def rounded_down(value: Tensor) -> Tensor:
    return torch.floor(value)


def above(value: Tensor, threshold: float) -> Tensor:
    return (value > threshold).to(value.dtype)


def one_hot_of_argmax(value: Tensor, dim: int) -> Tensor:
    return torch.zeros_like(value).scatter(dim, value.argmax(dim, keepdim=True), 1.0)


def top_k_mask(value: Tensor, k: int, dim: int) -> Tensor:
    smallest_kept = value.topk(k, dim).values.amin(dim, keepdim=True)
    return (value >= smallest_kept).to(value.dtype)


def softmax_over_singleton(value: Tensor) -> Tensor:
    return value.unsqueeze(-1).softmax(-1).squeeze(-1)


def through_integers(value: Tensor) -> Tensor:
    return value.to(torch.int64).to(value.dtype)


def floor_divided(value: Tensor, divisor: float) -> Tensor:
    return torch.div(value, divisor, rounding_mode="floor")


def resize_to_nearest(value: Tensor, size: list[int]) -> Tensor:
    return nn.functional.interpolate(value, size, mode="nearest")


def clamped(value: Tensor, low: float, high: float) -> Tensor:
    return value.clamp(low, high)


def constant_where(value: Tensor, constant: float) -> Tensor:
    return torch.where(value.isnan(), value, torch.full_like(value, constant))


def mask_above_mean(value: Tensor) -> Tensor:
    return (value > value.mean()).to(value.dtype)


def masked_above_mean(value: Tensor) -> Tensor:
    return value * (value > value.mean())


def scaled(value: Tensor, factor: float) -> Tensor:
    return value * factor


def softmax(value: Tensor, dim: int) -> Tensor:
    return value.softmax(dim)


def cast_round_trip(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype).to(value.dtype)


def root_of_square(value: Tensor) -> Tensor:
    return torch.sqrt(value * value)


def log_where_positive(value: Tensor) -> Tensor:
    return torch.where(value > 0, torch.log(value), 0.0)


def mask_then_scale(scores: Tensor, dim: int) -> Tensor:
    last = torch.zeros_like(scores, dtype=torch.bool).index_fill(dim, torch.tensor([-1], device=scores.device), True)
    return scores.masked_fill(last, float("-inf")) / (1 + scores.amax().abs())
