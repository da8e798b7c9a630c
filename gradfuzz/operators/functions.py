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
