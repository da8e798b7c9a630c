"""neural-net-checklist 1.1.0 (MIT): assertions on the output, without the loss. It calls the model with one tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gradfuzz.detectors import detector
from gradfuzz.detectors.packages.support import first_tensor, flagged, inapplicable, mixes_rows, named
from gradfuzz.records import Verdict

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gradfuzz.subjects.case import Case

PACKAGE = "neural-net-checklist"
ONE_TENSOR = "neural-net-checklist takes a model with one output tensor"


@detector("neural-net-checklist-gradients", needs="case", package=PACKAGE)
def neural_net_checklist_gradients(case: Case) -> Verdict:
    """neural-net-checklist: backward from the sum of the output leaves some parameter without a gradient, or with zeros."""
    from neural_net_checklist.torch_diagnostics import assert_non_zero_gradients

    return _judge(case, assert_non_zero_gradients, r"^Gradient for (\S+) is (?:None|all zeros)", floating=False)


@detector("neural-net-checklist-independence", needs="case", package=PACKAGE)
def neural_net_checklist_independence(case: Case) -> Verdict:
    """neural-net-checklist: the output for one row has a gradient for another row's input, or none for its own."""
    from neural_net_checklist.torch_diagnostics import assert_backward_batch_independence

    if mixes_rows(case):
        return inapplicable("neural-net-checklist cannot take the BatchNorm out of this case")

    def check(model: nn.Module, batch: Any) -> None:
        assert_backward_batch_independence(lambda: model, batch)

    return _judge(case, check, r"^(Gradient of) (?:first|second) output with respect to", floating=True)


def _judge(case: Case, check: Callable[[nn.Module, Any], None], finding: str, floating: bool) -> Verdict:
    """Ask; only an ``AssertionError`` that ``finding`` matches is one."""
    from torch import no_grad

    from gradfuzz.detectors.packages.modules import OneInput

    found = first_tensor(case)
    if found is None or (floating and not found[1].is_floating_point()):
        return inapplicable(f"neural-net-checklist takes {'a floating' if floating else 'an'} input tensor")
    key, tensor = found
    model = OneInput(case, key)
    with no_grad():
        if not hasattr(model(tensor), "sum"):
            return inapplicable(ONE_TENSOR)

    def whole(_: int | None) -> tuple[Tensor, Tensor]:
        """The whole batch, whatever the wanted size: a case may be bound to its own, and the checks hold for any."""
        return tensor, tensor

    try:
        check(model, whole)
    except AssertionError as error:
        suspects = named(finding, str(error))
        if not suspects:
            raise
        return flagged(() if floating else suspects, str(error))
    return Verdict(False)
