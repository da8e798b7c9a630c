"""From what a user's function returns to a case that has run forward once.

The forward is run on a copy, without gradients and with the generators restored, so that the case is as fresh as it was returned.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from gradfuzz.errors import BadInput
from gradfuzz.subjects.case import Case, Inputs, default_loss, random_target
from gradfuzz.subjects.loading import blame

ACCEPTED = "return a gradfuzz Case, (model, batch), (model, batch, loss_fn), or a bare model together with --input SHAPE"


def normalise(made: Any, name: str, shape: tuple[int, ...] | None) -> Case:
    """``made``: what the function returned. ``name``: for the messages. ``shape``: of ``--input``, for a bare model only."""
    if isinstance(made, nn.Module):
        if not shape:
            raise BadInput(
                f"'{name}' returned a bare {type(made).__name__}: give its input's shape, as in --input 2x3x64x64, or return (model, batch)"
            )
        return _with_default_loss(made, (torch.randn(shape),), name)
    if shape:
        raise BadInput(f"'{name}' returned a batch of its own, so --input does not apply: leave it out")
    if isinstance(made, Case):
        return checked(made, name)
    if not (isinstance(made, (tuple, list)) and len(made) in (2, 3) and isinstance(made[0], nn.Module)):
        raise BadInput(f"'{name}' returned {_describe(made)}: {ACCEPTED}")
    if len(made) == 2:
        return _with_default_loss(made[0], _inputs(made[1], name), name)
    return _with_loss(made[0], made[1], made[2], name)


def checked(case: Case, name: str) -> Case:
    """The case itself, or ``BadInput`` where its forward raises or its loss is no scalar that learns."""
    _can_train(case.model, name)
    try:
        model = deepcopy(case.model)
    except Exception:  # a model that cannot be copied may still be judged; the baseline gate runs it in place
        return case
    inputs, target = case.batch
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.no_grad():
        output = _forward(model, inputs, name)
        try:
            loss = case.loss_fn(output, target)
        except Exception as error:
            raise BadInput(
                f"'{name}': the loss raised on an output of {_describe(output)} and a target of {_describe(target)}: {blame(error)}"
            ) from error
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise BadInput(f"'{name}': the loss is {_describe(loss)}: let loss_fn return a scalar tensor, as with reduction='mean'")
    return case


def _with_default_loss(model: nn.Module, inputs: Inputs, name: str) -> Case:
    """Cross-entropy on random labels, or squared error to random values, by the form of the model's output."""
    _can_train(model, name)
    try:
        copy = deepcopy(model)
    except Exception as error:
        raise BadInput(
            f"'{name}': the model cannot be copied to look at its output: {blame(error)}. Return (model, batch, loss_fn)"
        ) from error
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.no_grad():
        output = _forward(copy, inputs, name)
    try:
        target = random_target(output)
        default_loss(output, target)
    except BadInput as error:
        raise BadInput(f"'{name}': {error}") from error
    except RuntimeError as error:
        raise BadInput(f"'{name}': gradfuzz knows no loss for an output of {_describe(output)}: return (model, batch, loss_fn)") from error
    return Case(model, (inputs, target), default_loss)


def _with_loss(model: nn.Module, batch: Any, loss_fn: Any, name: str) -> Case:
    _can_train(model, name)
    if not callable(loss_fn):
        raise BadInput(f"'{name}': the third thing returned is {_describe(loss_fn)}, not a loss_fn: {ACCEPTED}")
    if takes_target(loss_fn, name):
        if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
            raise BadInput(
                f"'{name}': loss_fn takes an output and a target, so the batch must be (inputs, target), but it is {_describe(batch)}"
            )
        return checked(Case(model, (_inputs(batch[0], name), batch[1]), loss_fn), name)
    return checked(Case(model, (_inputs(batch, name), None), lambda output, _: loss_fn(output)), name)


def takes_target(loss_fn: Callable[..., Any], name: str) -> bool:
    """Whether two arguments are required, or else one. What does not tell, as a function written in C, is taken to want two."""
    try:
        parameters = inspect.signature(loss_fn.forward if isinstance(loss_fn, nn.Module) else loss_fn).parameters.values()
    except ValueError:
        return True
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = sum(p.default is p.empty for p in positional)
    several = len(positional) > 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if required > 2 or not (positional or several):
        raise BadInput(
            f"'{name}': loss_fn must take (output, target) or (output), but it takes {required} arguments: wrap it in a function that does"
        )
    return required == 2 or (required == 0 and several)


def _inputs(batch: Any, name: str) -> Inputs:
    if isinstance(batch, Tensor):
        return (batch,)
    if isinstance(batch, (tuple, list)):
        return tuple(batch)
    if isinstance(batch, Mapping):
        return batch
    raise BadInput(f"'{name}': the batch is {_describe(batch)}: give the model's inputs as a tensor, a tuple of tensors, or a dict")


def _forward(model: nn.Module, inputs: Inputs, name: str) -> Any:
    try:
        return model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)
    except Exception as error:
        given = _describe(inputs if isinstance(inputs, Mapping) else inputs[0] if len(inputs) == 1 else inputs)
        hint = "Give inputs that the model takes" + (
            "; a target belongs into (model, (inputs, target), loss_fn)" if len(inputs) > 1 else ""
        )
        raise BadInput(f"'{name}': the model's forward raised on {given}: {blame(error)}. {hint}") from error


def _can_train(model: nn.Module, name: str) -> None:
    if not any(p.requires_grad for p in model.parameters()):
        why = "has no parameters" if next(model.parameters(), None) is None else "has only frozen parameters (requires_grad=False)"
        raise BadInput(f"'{name}': the {type(model).__name__} {why}, so there is no gradient to judge: give a model that trains")


def _describe(value: Any) -> str:
    """``a float32 tensor of 2x3``, ``a tuple of (Linear, str)``, ``None``: a form for messages, never the values."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of {'x'.join(map(str, value.shape)) or 'one number'}"
    if isinstance(value, Mapping):
        return "a dict of {" + ", ".join(f"{key}: {_describe(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of ({', '.join(_describe(part) for part in value)})"
    kind = type(value).__name__
    return "None" if value is None else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
