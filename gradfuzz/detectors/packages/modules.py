"""Cases as modules of the shape that some checkers ask for. Imports torch: adapters import it when they are asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case


class OneInput(nn.Module):
    """The model as a function of one of its inputs, the others held."""

    def __init__(self, case: Case, key: int | str) -> None:
        super().__init__()
        self.model, self._key, self._inputs = case.model, key, case.batch[0]

    def forward(self, value: Tensor) -> Any:
        return _call(self.model, _with(self._inputs, {self._key: value}))

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """By the names that the author knows."""
        return self.model.named_parameters(*args, **kwargs)


class DoubleObjective(nn.Module):
    """The loss as a function of the floating inputs, for central differences: float64, random numbers held by seeding before each call."""

    def __init__(self, case: Case, seed: int) -> None:
        super().__init__()
        self.model, self._loss_fn, self._seed = case.model, case.loss_fn, seed
        self._inputs, self._target = case.batch[0], _double(case.batch[1])
        items = self._inputs.items() if isinstance(self._inputs, Mapping) else enumerate(self._inputs)
        self._floating = {key: value for key, value in items if isinstance(value, Tensor) and value.is_floating_point()}

    @property
    def values(self) -> tuple[Tensor, ...]:
        return tuple(self._floating.values())

    def forward(self, *values: Tensor) -> Tensor:
        inputs = _with(self._inputs, dict(zip(self._floating, values, strict=True)))
        with torch.random.fork_rng():
            torch.manual_seed(self._seed)
            return self._loss_fn(_call(self.model, inputs), self._target)


def _call(model: nn.Module, inputs: Any) -> Any:
    return model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)


def _with(inputs: Any, replaced: Mapping[Any, Tensor]) -> Any:
    if isinstance(inputs, Mapping):
        return {**inputs, **replaced}
    return tuple(replaced.get(index, value) for index, value in enumerate(inputs))


def _double(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: _double(item) for key, item in value.items()}
    return type(value)(_double(item) for item in value) if isinstance(value, (tuple, list)) else value
