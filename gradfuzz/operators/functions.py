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
    return value.clone(memory_format=torch.contiguous_format)  # as the fresh result of a call would be, with a node of its own


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


def zeros_like(value: Tensor) -> Tensor:
    return torch.zeros_like(value)


def negated(value: Tensor) -> Tensor:
    return -value


def item_round_trip(value: Tensor) -> Tensor:
    return torch.tensor(value.item(), dtype=value.dtype, device=value.device)


def error_rate(output: Tensor, labels: Tensor) -> Tensor:
    return (output.argmax(1 if output.dim() > 1 else 0) != labels).to(output.dtype).mean()


def rounded_error(output: Tensor, target: Tensor) -> Tensor:
    return (output.round() - target).abs().mean()


def sigmoid(value: Tensor) -> Tensor:
    return torch.sigmoid(value)


def tanh(value: Tensor) -> Tensor:
    return torch.tanh(value)


def relu(value: Tensor) -> Tensor:
    return torch.relu(value)


def unsqueezed(value: Tensor, dim: int) -> Tensor:
    return value.unsqueeze(dim)


def squeezed(value: Tensor, dim: int) -> Tensor:
    return value.squeeze(dim)


def next_class(labels: Tensor, step: int, classes: int, ignored: int) -> Tensor:
    return torch.where(labels == ignored, labels, (labels + step) % classes)


def of_the_next_sample(value: Tensor) -> Tensor:
    return value.roll(1, 0)


def filled_with(value: Tensor, constant: float) -> Tensor:
    return torch.full_like(value, constant)


def mean_everywhere(value: Tensor) -> Tensor:
    return torch.zeros_like(value) + value.mean()


def logarithm_of_exponentials(value: Tensor, dim: list[int], keepdim: bool) -> Tensor:
    return value.exp().sum(dim, keepdim).log()


def logarithm_of_softmax(value: Tensor, dim: int) -> Tensor:
    return value.softmax(dim).log()


def logarithm_of_sigmoid(value: Tensor) -> Tensor:
    return value.sigmoid().log()


def logarithm_of_one_plus_exponential(value: Tensor) -> Tensor:
    return (1 + value.exp()).log()


def reshaped(value: Tensor, shape: list[int]) -> Tensor:
    return value.reshape(shape)


def opposite(mask: Tensor) -> Tensor:
    return ~mask


def divided_by_its_sum(value: Tensor) -> Tensor:
    return value / (value.sum(-1, keepdim=True) + 1e-20)


def normalised_over(value: Tensor, dim: int, eps: float) -> Tensor:
    value = value.clone()  # one use of the given value, as of a layer, so that its gradient adds up in the same order
    return (value - value.mean(dim, keepdim=True)) / (value.var(dim, correction=0, keepdim=True) + eps).sqrt()


def normalised_and_scaled(value: Tensor, dim: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    result = normalised_over(value, dim, eps)
    result = result if weight is None else result * weight
    return result if bias is None else result + bias


def written_through_data(result: Tensor, value: Tensor) -> Tensor:
    written = value.clone()
    written.data.copy_(result)
    return written


def first_keeps_gradient(value: Tensor, dim: int) -> Tensor:
    return torch.cat([value.narrow(dim, 0, 1), value.narrow(dim, 1, value.shape[dim] - 1).detach()], dim)


def clamped_gradient(value: Tensor) -> Tensor:
    result = value.view_as(value)
    if result.requires_grad:
        result.register_hook(lambda gradient: gradient.clamp(min=0))
    return result


def summed(value: Tensor, *dim_and_keepdim: Any) -> Tensor:
    return value.sum(*dim_and_keepdim)


def averaged(value: Tensor, *dim_and_keepdim: Any) -> Tensor:
    return value.mean(*dim_and_keepdim)


def next_index(index: Tensor, step: int, count: int) -> Tensor:
    return (index + step) % count


def subtracted_from(value: Tensor, number: float) -> Tensor:
    return number - value


def less(value: Tensor, number: float) -> Tensor:
    return value - number


def cross_entropy_by_hand(output: Tensor, labels: Tensor, ignored: int) -> Tensor:
    return nn.functional.nll_loss(output.softmax(1).log(), labels, ignore_index=ignored)


def cross_entropy_of_sigmoid(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy(output.sigmoid(), target)


def standardised(value: Tensor) -> Tensor:
    return (value - value.mean()) / (value.std() + 1e-8)
