"""The live form of a subject: model, batch, loss, optimizer. Everything a gradient checker may look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradfuzz.errors import BadInput

Inputs = tuple[Any, ...] | Mapping[str, Any]
Batch = tuple[Inputs, Any]


@dataclass
class Case:
    """One correct training case.

    model: the module under training, in the mode (train or eval) in which it is to be judged.
    batch: ``(inputs, target)``; inputs is a tuple (positional) or a mapping (keywords) for ``model``; a lone tensor becomes a tuple of one;
        target is whatever ``loss_fn`` takes, or None.
    loss_fn: ``loss_fn(output, target)`` gives a scalar.
    make_optimizer: takes the trainable parameters; SGD with learning rate 0.01 unless given.
    trainable: names of the parameters that the author wants trained; those with ``requires_grad`` unless given.
    intended: declared stops, ``{parameter or module name: reason}``; never inferred.
    make_batch: ``make_batch(k)`` gives the k-th further batch of the same shapes; drawn like the first unless given.
    train_step: ``train_step(model, optimizer, batch)`` is one step of the author's own loop, from clearing gradients to the optimizer's
        step, and returns the loss; unless given: ``zero_grad``, forward, backward, ``step``.
    """

    model: nn.Module
    batch: Batch
    loss_fn: Callable[[Any, Any], Tensor]
    make_optimizer: Callable[[Any], torch.optim.Optimizer] = lambda parameters: torch.optim.SGD(parameters, lr=0.01)
    trainable: tuple[str, ...] = ()
    intended: Mapping[str, str] = field(default_factory=dict)
    make_batch: Callable[[int], Batch] | None = None
    train_step: Callable[[nn.Module, torch.optim.Optimizer, Batch], Tensor] | None = None

    def __post_init__(self) -> None:
        names = [name for name, _ in self.model.named_parameters()]
        if not names:
            raise BadInput("the model has no parameters, so there is no gradient to judge: give a model that trains")
        if not self.trainable:
            self.trainable = tuple(name for name, p in self.model.named_parameters() if p.requires_grad)
        unknown = sorted(set(self.trainable) - set(names))
        if unknown:
            raise BadInput(f"the case wants '{unknown[0]}' trained, but the model has no such parameter")
        self.batch = _wrapped(self.batch)

    def batches(self, count: int, seed: int = 0) -> list[Batch]:
        """The first batch and ``count - 1`` further ones, the same ones for the same seed."""
        further = self.make_batch or (lambda k: _like(self.batch, seed * 1000 + k))
        return [self.batch, *(_wrapped(further(k)) for k in range(1, count))]

    def loss(self, batch: Batch | None = None) -> Tensor:
        """Forward: the scalar loss on a batch, the first one unless given."""
        inputs, target = self.batch if batch is None else batch
        output = self.model(**inputs) if isinstance(inputs, Mapping) else self.model(*inputs)
        return self.loss_fn(output, target)

    def optimizer(self) -> torch.optim.Optimizer:
        """A fresh optimizer over the trainable parameters."""
        parameters = dict(self.model.named_parameters())
        return self.make_optimizer([parameters[name] for name in self.trainable])

    def step(self, optimizer: torch.optim.Optimizer, batch: Batch | None = None) -> Tensor:
        """One training step, as the author does it. Returns the loss; the gradients stay as the step leaves them."""
        chosen = self.batch if batch is None else batch
        if self.train_step is not None:
            return self.train_step(self.model, optimizer, chosen)
        optimizer.zero_grad()
        loss = self.loss(chosen)
        loss.backward()
        optimizer.step()
        return loss


class Objective(nn.Module):
    """Model and loss as one module: ``forward(*flat tensors of the batch)`` gives the scalar loss."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.model = case.model
        self._case = case

    def forward(self, inputs: Inputs, target: Any) -> Tensor:
        output = self.model(**inputs) if isinstance(inputs, Mapping) else self.model(*inputs)
        return self._case.loss_fn(output, target)


def default_loss(output: Any, target: Any) -> Tensor:
    """Cross-entropy where the target holds class numbers, else squared error; several outputs are added up. Cannot cancel."""
    if isinstance(output, Mapping):
        return torch.stack([default_loss(output[key], target[key]) for key in target]).sum()
    if isinstance(output, (tuple, list)):
        return torch.stack([default_loss(o, t) for o, t in zip(output, target, strict=True) if t is not None]).sum()
    if not target.is_floating_point():
        return nn.functional.cross_entropy(output, target)
    return nn.functional.mse_loss(output, target)


def random_target(output: Any) -> Any:
    """A target for ``default_loss``: random labels for a float (batch, classes) output with two classes or more, else normal noise."""
    if isinstance(output, Mapping):
        return {key: random_target(value) for key, value in output.items() if _learnable(value)}
    if isinstance(output, (tuple, list)):
        return tuple(random_target(value) if _learnable(value) else None for value in output)
    if not _learnable(output):
        raise BadInput(f"the model returns {type(output).__name__}, and gradfuzz knows no loss for it: return (model, batch, loss_fn)")
    if output.dim() == 2 and output.shape[1] >= 2:
        return torch.randint(0, output.shape[1], (output.shape[0],)).to(output.device)
    return torch.randn(output.shape, dtype=output.dtype).to(output.device)


def _wrapped(batch: Any) -> Batch:
    """A lone input tensor as a tuple of one: ``model(*tensor)`` would hand over its rows."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise BadInput(f"the batch of a case is a {type(batch).__name__}: give (inputs, target), the target None where the loss takes none")
    return ((batch[0],) if isinstance(batch[0], Tensor) else batch[0], batch[1])


def _learnable(value: Any) -> bool:
    return isinstance(value, (tuple, list, Mapping)) or (isinstance(value, Tensor) and value.is_floating_point())


def _like(value: Any, seed: int) -> Any:
    """Another batch of the same shapes: floats from a normal distribution of equal mean and spread, integers permuted."""
    generator = torch.Generator().manual_seed(seed)

    def draw(item: Any) -> Any:
        if isinstance(item, Mapping):
            return {key: draw(part) for key, part in item.items()}
        if isinstance(item, (tuple, list)):
            return type(item)(draw(part) for part in item)
        if not isinstance(item, Tensor):
            return item
        if item.requires_grad:
            return draw(item.detach()).requires_grad_()
        if item.is_floating_point():
            spread = item.std() if item.numel() > 1 else item.new_tensor(1.0)
            noise = torch.randn(item.shape, generator=generator, dtype=torch.float32)
            return noise.to(item) * spread + item.mean()
        order = torch.randperm(item.numel(), generator=generator).to(item.device)
        return item.flatten()[order].view(item.shape)

    return draw(value)
