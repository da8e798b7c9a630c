"""Every adapter against the real package: what it must flag, what it must not, and what is no finding at all.

A package that is not installed is skipped, with the line that installs it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradfuzz import Case, Verdict
from gradfuzz.api import trace
from gradfuzz.detectors import Detector, Exhibit, detector, detectors, judge, judge_case
from gradfuzz.engine.live import live_case
from gradfuzz.operators.draft import Mutation
from gradfuzz.subjects import resolve

ROOT = Path(__file__).parent.parent
FIRST = ("first.weight", "first.bias")
Make = Callable[[], Case]


class Net(nn.Module):
    """Two layers; ``between`` is what happens to the hidden values."""

    def __init__(self, between: Callable[[Tensor], Tensor], width: int) -> None:
        super().__init__()
        self.first, self.between, self.second = nn.Linear(width, 16), between, nn.Linear(16, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self.first(x).tanh()))


def net(between: Callable[[Tensor], Tensor] = lambda h: h, width: int = 8, **more: object) -> Case:
    torch.manual_seed(0)
    batch = (torch.randn(16, width), torch.randint(0, width, (16,)))
    return Case(Net(between, width), batch, nn.functional.cross_entropy, **more)  # type: ignore[arg-type]


def healthy() -> Case:
    return net()


def cut() -> Case:
    return net(lambda h: h.detach())


def cut_on_purpose() -> Case:
    return net(lambda h: h.detach(), intended={"first": "random features: only the second layer is trained"})


def zeroed() -> Case:
    return net(lambda h: 0 * h)


def not_finite() -> Case:
    """The loss of ``healthy``; the square root at zero makes the gradient infinite minus infinite."""
    return net(lambda h: h + (h - h).sqrt())


def not_covered() -> Case:
    return net(make_optimizer=lambda parameters: torch.optim.SGD(list(parameters)[:-1], lr=0.01))


class Scaled(torch.autograd.Function):
    """The same value; the gradient times a factor."""

    @staticmethod
    def forward(context: Any, value: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * context.factor, None


def scaled(factor: float) -> Make:
    return lambda: net(lambda h: Scaled.apply(h, factor))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).mean(1))


COLUMNS: tuple[tuple[str, Make], ...] = (
    ("cut", cut),
    ("zero", zeroed),
    ("NaN", not_finite),
    ("half cut", lambda: net(lambda h: h / 2 + h.detach() / 2)),
    ("times 2", scaled(2.0)),
    ("times -1", scaled(-1.0)),
    ("times 1e-12", scaled(1e-12)),
    ("times 1e5", scaled(1e5)),
    ("not in optimizer", not_covered),
    ("dropout", lambda: net(lambda h: nn.functional.dropout(h, 0.3))),
    ("frozen backbone", lambda: resolve("corpus:frozen-backbone").build(0)),
    ("LoRA, step 0", lambda: resolve("corpus:lora").build(0)),
    ("TransformerEncoderLayer", lambda: Case(Encoder(), (torch.randn(8, 10, 16), torch.randint(0, 4, (8,))), nn.functional.cross_entropy)),
)
"""Of the table in docs/checkers.md."""


def rows_mixed() -> Case:
    return net(lambda h: h - h.mean(dim=0))


def wide_and_double() -> Case:
    """torch-audit has a rule against every float32 model and one against every width that is no multiple of 16."""
    case = net(width=16)
    (x,), target = case.batch
    return Case(case.model.double(), (x.double(), target), case.loss_fn)


@dataclass(frozen=True)
class Asked:
    """A case that an adapter must flag, with whom it must suspect, and one that it must not flag."""

    name: str
    faulty: Make
    suspects: tuple[str, ...] = FIRST
    fine: Make = healthy


ASKED = (
    Asked("neural-net-checklist-gradients", cut, FIRST[:1]),
    Asked("neural-net-checklist-independence", rows_mixed, ()),
    Asked("pytest-torch-coverage", not_covered, ("second.bias",)),
    Asked("pytest-torch-finite", not_finite),
    Asked("pytest-torch-gradcheck", cut, ()),
    Asked("pytest-torch-gradients", cut),
    Asked("pytest-torch-gradients-intended", cut, fine=cut_on_purpose),
    Asked("pytest-torch-overfit", cut, ()),
    Asked("tinytorchtest", cut, FIRST[:1]),
    Asked("torch-audit", zeroed, fine=wide_and_double, suspects=(*FIRST, "second.weight")),
    Asked("torch-audit-gradients", zeroed, (*FIRST, "second.weight")),
    Asked("torchdiag", cut),
    Asked("torcheck", cut),
    Asked("torchmortem", cut, (*FIRST, "second.weight", "second.bias")),
    Asked("torchmortem-gradients", cut, (*FIRST, "second.weight", "second.bias")),
    Asked("torchtest", cut, FIRST[:1]),
    Asked("torchtest2", cut),
    Asked("torchtest2-gradients", cut),
)
each = pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.name)


def adapter(name: str) -> Detector:
    one = detectors[name]
    try:
        metadata.version(one.package)
    except metadata.PackageNotFoundError:
        pytest.skip(one.install)
    return one


def unbroken(subject: str) -> Exhibit:
    """A subject in the form that its mutants have."""
    traced = trace(subject)
    return Exhibit(lambda: live_case(traced, Mutation(traced.program)), traced.seed)


def test_every_adapter_is_tested_here_and_stands_in_the_guide_with_its_version() -> None:
    adapters = [one for one in detectors.values() if one.function.__module__.startswith("gradfuzz.detectors.packages.")]
    assert {one.name for one in adapters} == {asked.name for asked in ASKED}
    page = (ROOT / "docs" / "checkers.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ([\w-]+ [\d.]+) \|", page, re.MULTILINE))
    assert rows.keys() == {asked.name for asked in ASKED}
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for one in adapters:
        package, version = rows[one.name].split()
        assert package == one.package
        assert f"{package}=={version}" in (pinned if "[checkers]" in one.install else one.install.split())


@each
def test_an_adapter_flags_the_fault_that_its_package_looks_for_and_suspects_the_right_parameters(asked: Asked) -> None:
    verdict = judge_case(adapter(asked.name), asked.faulty)
    assert (verdict.status, verdict.flagged, verdict.message != "") == ("ok", True, True), verdict.message
    assert set(verdict.suspects) == set(asked.suspects)


@each
def test_an_adapter_does_not_flag_a_healthy_case(asked: Asked) -> None:
    verdict = judge_case(adapter(asked.name), asked.fine)
    assert (verdict.status, verdict.flagged, verdict.suspects) == ("ok", False, ()), verdict.message


@each
def test_an_exception_of_the_model_is_never_a_finding(asked: Asked) -> None:
    def broken(_: Tensor) -> Tensor:
        raise AssertionError("raised by the model")

    one = adapter(asked.name)
    if asked.name == "pytest-torch-coverage":  # the only one that does not run the model
        assert not one.function(net(broken)).flagged
    else:
        with pytest.raises((AssertionError, RuntimeError), match="raised by the model"):
            one.function(net(broken))


@each
def test_an_adapter_takes_a_mutant_or_says_why_not(asked: Asked) -> None:
    verdict = judge(adapter(asked.name), unbroken("corpus:mlp"))
    noisy = ("torch-audit", "torchmortem")  # with all their rules, on every model or on many
    assert (verdict.status, verdict.flagged) == ("ok", asked.name in noisy), verdict.message


@pytest.mark.parametrize("name", ["torchtest2-gradients", "pytest-torch-gradients", "torchdiag", "torcheck", "torchtest", "tinytorchtest"])
def test_an_adapter_suspects_the_parameter_that_a_mutant_lost(name: str) -> None:
    traced = trace("corpus:mlp")
    program = traced.program
    first = program.instructions[0]

    def severed(*args: object) -> Tensor:
        return first.target(*args).detach()

    cut_program = type(program)((replace(first, target=severed), *program.instructions[1:]), program.output)
    verdict = judge(adapter(name), Exhibit(lambda: live_case(traced, Mutation(cut_program)), traced.seed))
    lost = [read.removeprefix("parameter:") for read in first.reads if read.startswith("parameter:")]
    assert verdict.flagged
    assert set(verdict.suspects) <= set(lost)
    assert verdict.suspects[0] == lost[0]


@pytest.mark.parametrize("name", ["torchtest2", "neural-net-checklist-independence"])
def test_the_batch_norm_of_a_mutant_is_not_taken_for_a_leak_between_rows(name: str) -> None:
    verdict = judge(adapter(name), unbroken("corpus:cnn"))
    assert not verdict.flagged, verdict.message


@pytest.mark.parametrize("name", ["torchtest", "tinytorchtest", "torchtest2", "pytest-torch-gradcheck", "neural-net-checklist-gradients"])
@pytest.mark.parametrize("stop", [True, False])
def test_a_model_of_several_named_inputs_and_a_loss_without_a_target_can_be_asked_about(name: str, stop: bool) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(4, 3), nn.Linear(5, 3)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            left = self.left(a).tanh()
            return left.detach() * self.right(b) if stop else left + self.right(b)

    def make() -> Case:
        return Case(Two(), ({"a": torch.randn(6, 4), "b": torch.randn(6, 5)}, None), lambda output, _: output.square().mean())

    verdict = judge_case(adapter(name), make)
    assert (verdict.status, verdict.flagged) == ("ok", stop), verdict.message


@pytest.mark.parametrize(
    ("name", "subject", "why"),
    [
        ("neural-net-checklist-gradients", "corpus:vae", "one output tensor"),
        ("neural-net-checklist-independence", "corpus:transformer", "a floating input tensor"),
        ("pytest-torch-gradcheck", "corpus:transformer", "0 floating input elements"),
        ("pytest-torch-gradcheck", "corpus:cnn", "3072 floating input elements"),
    ],
)
def test_a_case_that_a_package_cannot_take_is_skipped_with_the_reason(name: str, subject: str, why: str) -> None:
    verdict = judge_case(adapter(name), lambda: resolve(subject).build(0))
    assert (verdict.status, why in verdict.message) == ("skipped", True), verdict.message


def test_torcheck_flags_a_trainable_parameter_that_is_in_no_optimizer() -> None:
    verdict = judge_case(adapter("torcheck"), not_covered)
    assert (verdict.flagged, verdict.suspects) == (True, ("second.bias",))


def what_they_see() -> dict[str, list[str]]:
    """The table of the guide: its header, and a row of cells per detector."""
    page = (ROOT / "docs" / "checkers.md").read_text(encoding="utf-8").partition("\n## What they see\n")[2].partition("\n## ")[0]
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| "))
    return {first: cells for first, *cells in rows}


def test_the_table_of_the_guide_has_these_columns() -> None:
    assert what_they_see()["detector"] == [title for title, _ in COLUMNS]


@pytest.mark.parametrize("name", [name for name in what_they_see() if name != "detector"])
def test_an_adapter_sees_what_the_guide_says_and_no_more(name: str) -> None:
    verdicts = [judge_case(adapter(name), make) for _, make in COLUMNS]
    said = ["FLAG" if verdict.flagged else {"ok": "."}.get(verdict.status, verdict.status) for verdict in verdicts]
    assert said == what_they_see()[name]


def test_a_package_that_is_not_installed_is_skipped_with_the_line_that_installs_it() -> None:
    @detector("of-an-absent-package", needs="case", package="gradfuzz-no-such-package", install="pip install gradfuzz-no-such-package")
    def of_an_absent_package(case: Case) -> Verdict:
        """Never asked."""
        raise AssertionError("asked, though its package is not installed")

    try:
        verdict = judge_case(detectors["of-an-absent-package"], healthy)
        assert (verdict.status, verdict.flagged, verdict.message) == ("skipped", False, "pip install gradfuzz-no-such-package")
    finally:
        detectors.remove("of-an-absent-package")


def test_the_adapters_are_listed_without_importing_any_package() -> None:
    packages = [one.package.replace("-", "_") for one in detectors.values() if one.package]
    code = f"import sys, gradfuzz.detectors.packages; print([m for m in {[*packages, 'torch']} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
