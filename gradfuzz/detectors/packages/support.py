"""What several adapters share: reading a report, and giving a case the form that a checker takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gradfuzz.records import Verdict

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gradfuzz.subjects.case import Case


def flagged(suspects: Iterable[str], message: str) -> Verdict:
    """A finding. Suspects in the order of the report, each once; of the message its first line."""
    return Verdict(True, tuple(dict.fromkeys(suspects)), (message.strip().splitlines() or [""])[0])


def inapplicable(reason: str) -> Verdict:
    """The checker cannot be asked about this case, which is no miss of it."""
    return Verdict(False, message=reason, status="skipped")


def of_layers(model: nn.Module, layers: Iterable[str]) -> list[str]:
    """The parameters of modules that a report names, in the order of the report."""
    names = [name for name, _ in model.named_parameters()]
    return [name for layer in layers for name in names if name.startswith(f"{layer}.")]


def mixes_rows(case: Case) -> bool:
    """A mutant with a BatchNorm in training mode, which mixes the rows of a batch by no fault.

    In a model as its author wrote it, a checker can put it into eval mode or replace it. In a mutant it is an instruction like any other.
    """
    from gradfuzz.engine.live import LiveModel

    return isinstance(case.model, LiveModel) and any(
        module.training and "running_mean" in module._buffers for module in case.model.modules()
    )


def named(pattern: str, text: str) -> list[str]:
    """Every parameter name that ``pattern``, with one group, finds in a report, line by line."""
    return re.findall(pattern, text, re.MULTILINE)


def objective(case: Case) -> Callable[[Any], Tensor]:
    """``loss_fn(output)``, the target closed over."""
    target = case.batch[1]
    return lambda output: case.loss_fn(output, target)


def first_tensor(case: Case) -> tuple[int | str, Tensor] | None:
    """Position or keyword of the first input that is a tensor, and that tensor."""
    from torch import Tensor

    inputs = case.batch[0]
    named_inputs = inputs.items() if isinstance(inputs, Mapping) else enumerate(inputs)
    return next(((key, value) for key, value in named_inputs if isinstance(value, Tensor)), None)


def did_not_change(case: Case, check: Callable[..., None], finding: type[Exception]) -> Verdict:
    """``assert_vars_change`` of torchtest and of tinytorchtest, which take a model of one input and stop at the first parameter."""
    from gradfuzz.detectors.packages.modules import OneInput

    found = first_tensor(case)
    if found is None:
        return inapplicable("this check takes a model with an input tensor")
    key, tensor = found
    loss_fn = objective(case)
    try:  # the target is closed over, so that it need not be a tensor; the input stands in for it
        check(OneInput(case, key), lambda output, _: loss_fn(output), case.optimizer(), [tensor, tensor], tensor.device)
    except finding as error:
        return flagged(named(r"^(\S+) did not change!", str(error)), str(error))
    return Verdict(False)
