"""The calls of a training step that are no torch functions: what clears, clips, unscales and applies gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

Report = Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""``report(name, function, args, kwargs)`` calls the function, or does something else."""


@contextmanager
def watched_methods(optimizer: torch.optim.Optimizer, report: Report) -> Iterator[None]:
    """While the block runs, every call of these goes through ``report``: ``zero_grad`` of any optimizer, ``step`` of this one and of others
    of its class, ``clip_grad_norm_`` and ``clip_grad_value_`` of ``nn.utils``, ``unscale_`` of a gradient scaler.
    """
    with ExitStack() as stack:
        stepping = next(kind for kind in type(optimizer).__mro__ if "step" in vars(kind))
        clearing = next(kind for kind in type(optimizer).__mro__ if "zero_grad" in vars(kind))
        places: tuple[tuple[Any, str], ...] = (
            (stepping, "step"),
            (clearing, "zero_grad"),
            (torch.amp.GradScaler, "unscale_"),
            (nn.utils, "clip_grad_norm_"),
            (nn.utils, "clip_grad_value_"),
        )
        for owner, name in places:
            stack.enter_context(_watched(owner, name, report))
        yield


@contextmanager
def _watched(owner: Any, name: str, report: Report) -> Iterator[None]:
    original = vars(owner)[name]

    @functools.wraps(original)
    def watched(*args: Any, **kwargs: Any) -> Any:
        return report(name.strip("_"), original, args, kwargs)

    setattr(owner, name, watched)
    try:
        yield
    finally:
        setattr(owner, name, original)
