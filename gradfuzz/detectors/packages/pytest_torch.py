"""pytest-torch 1.1.1 (MIT): assertions that train or differentiate once, here called as plain functions.

Each raises ``AssertionError`` with a known first line to report a finding. Reports name ten parameters at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gradfuzz.detectors import detector
from gradfuzz.detectors.packages.support import flagged, inapplicable, named, objective
from gradfuzz.records import Verdict

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case

PACKAGE = "pytest-torch"


@detector("pytest-torch-gradients", needs="case", package=PACKAGE)
def pytest_torch_gradients(case: Case) -> Verdict:
    """pytest-torch: some trainable parameter receives no gradient, or an all-zero one."""
    return _receive(case, ())


@detector("pytest-torch-gradients-intended", needs="case", package=PACKAGE)
def pytest_torch_gradients_intended(case: Case) -> Verdict:
    """pytest-torch: the same, told to ignore what the case declares as intended."""
    return _receive(case, [pattern for name in case.intended for pattern in (name, f"{name}.*")])


@detector("pytest-torch-finite", needs="case", package=PACKAGE)
def pytest_torch_finite(case: Case) -> Verdict:
    """pytest-torch: the loss or some gradient is infinite or NaN."""
    from pytest_torch.training import assert_gradients_finite

    return _judge(
        lambda: assert_gradients_finite(case.model, case.batch[0], objective(case)),
        ("loss is not finite", "Non-finite gradients"),
        r"^ +(\S+): \d+ NaN and",
    )


@detector("pytest-torch-coverage", needs="case", package=PACKAGE)
def pytest_torch_coverage(case: Case) -> Verdict:
    """pytest-torch: some trainable parameter is in no optimizer, or in it twice."""
    from pytest_torch.training_loop import assert_optimizer_coverage

    return _judge(lambda: assert_optimizer_coverage(case.model, case.optimizer()), ("Optimizer coverage",), r"^  ([^\s:']+): ")


@detector("pytest-torch-overfit", needs="case", package=PACKAGE)
def pytest_torch_overfit(case: Case, *, steps: int = 200, ratio: float = 0.05, learning_rate: float = 1e-2) -> Verdict:
    """pytest-torch: Adam does not bring the loss on one batch down to a twentieth in 200 steps.

    ratio: of the first loss, that counts as overfitted. learning_rate: of Adam, which the package takes unless told otherwise.
    """
    from pytest_torch.training import assert_overfits_one_batch

    return _judge(
        lambda: assert_overfits_one_batch(case.model, case.batch[0], objective(case), steps=steps, max_final_ratio=ratio, lr=learning_rate),
        ("Could not overfit one batch",),
    )


@detector("pytest-torch-gradcheck", needs="case", package=PACKAGE)
def pytest_torch_gradcheck(case: Case, *, largest: int = 600, seed: int = 0) -> Verdict:
    """pytest-torch: the loss's gradient with respect to the inputs is not what central differences in float64 say.

    largest: number of input elements up to which it is asked; it takes two forward passes for each.
    """
    from pytest_torch.training import assert_gradcheck
    from torch.autograd.gradcheck import GradcheckError

    from gradfuzz.detectors.packages.modules import DoubleObjective

    function = DoubleObjective(case, seed)
    count = sum(value.numel() for value in function.values)
    if not 0 < count <= largest:
        return inapplicable(f"the batch has {count} floating input elements: this check takes 1 to {largest}")
    try:
        return _judge(lambda: assert_gradcheck(function, function.values), ("Analytical (autograd) and numerical",))
    except GradcheckError as error:
        if "expected to be zero" not in str(error):  # what torch says where no gradient reaches the inputs, and should
            raise
        return flagged((), str(error))


def _receive(case: Case, ignore: Iterable[str]) -> Verdict:
    from pytest_torch.training import assert_all_params_receive_grad

    return _judge(
        lambda: assert_all_params_receive_grad(case.model, case.batch[0], objective(case), ignore=tuple(ignore)),
        (" trainable parameter(s) receive no useful gradient",),
        r"^  (\S+): (?:no gradient|gradient is zero)",
    )


def _judge(check: Callable[[], Any], findings: tuple[str, ...], suspect: str = "") -> Verdict:
    """Ask; only an ``AssertionError`` whose first line is a known finding is one."""
    try:
        check()
    except AssertionError as error:
        text = str(error)
        if not any(finding in text.partition("\n")[0] for finding in findings):
            raise
        return flagged(named(suspect, text) if suspect else (), text)
    return Verdict(False)
