"""The real faults and the correct cases that look like faults: every entry, its record, and the measuring that both rest on."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from gradfuzz.engine.eager import effect_of, locate, observe_case, outcome
from gradfuzz.engine.remeasure import differences
from gradfuzz.errors import BadInput, Refused
from gradfuzz.graph.trace import trace
from gradfuzz.records import Cause, Effect, State, Thresholds
from gradfuzz.subjects import Subject, bugs, corpus, providers, resolve
from gradfuzz.subjects.bugs import Bug, build_bug, build_negative
from gradfuzz.subjects.case import Batch, Case

ROOT = Path(__file__).resolve().parent.parent
BUGS, NEGATIVES = bugs.bugs(), bugs.negatives()
PLAIN = [name for name, bug in BUGS.items() if bug.effect in (Effect.DEAD, Effect.EQUIVALENT) and build_bug(name, True).train_step is None]
REFUSED = {
    "bugs/deepxde-pinn-relu-second-derivative": "cannot trace",
    "bugs/domainbed-50-gradient-penalty-without-graph": "cannot trace",
    "bugs/gans1d-gradient-penalty-not-added": "cannot trace",
    "bugs/openunlearning-lora-reentrant-checkpoint": "the traced program raises",
    "bugs/pytorchdann-lambda-sign": "another function than the model computes",
    "bugs/spikingjelly-eval-no-surrogate": "another function than the model computes",
    "negatives/neg-moe-inactive-experts": "cannot trace",
}
"""Entries that torch.export cannot capture; the naive way, eager, remains for them."""


def sides() -> Iterator[Callable[[], Case]]:
    for name in BUGS:
        yield from (lambda name=name, bug=bug: build_bug(name, bug) for bug in (False, True))
    yield from (lambda name=name: build_negative(name) for name in NEGATIVES)


def tensors(case: Case) -> list[Tensor]:
    inputs = case.batch[0].values() if isinstance(case.batch[0], dict) else case.batch[0]
    return [*(item for item in inputs if isinstance(item, Tensor)), *case.model.state_dict().values()]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("validate_corpus", ROOT / "scripts" / "validate_corpus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty corpus in the place of ours."""
    for name in bugs.FOLDERS:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(corpus, "corpora_folder", lambda: tmp_path)
    return tmp_path


def copied(name: str, folder: Path, old: str = "", new: str = "") -> Path:
    """An entry of ours in another corpus, with a piece of its text exchanged."""
    text = (ROOT / "corpora" / f"{name}.py").read_text("utf-8")
    assert old in text
    path = folder / f"{name}.py"
    path.write_text(text.replace(old, new, 1) if old else text, "utf-8")
    return path


# --- every entry


@pytest.mark.parametrize("name", [*BUGS, *NEGATIVES])
def test_every_entry_is_what_its_record_says(name: str) -> None:
    assert differences({**BUGS, **NEGATIVES}[name]) == []


def test_every_side_of_every_entry_is_built_twice_with_the_same_bits() -> None:
    for build in sides():
        first, second = tensors(build()), tensors(build())
        assert len(first) == len(second) > 0
        assert all(torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0)) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_backward_pass_finds_the_gradients_missing_that_the_record_calls_missing(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of them are loud, which the record says too
        case = build_bug(name, True)
        case.loss().backward()
        for parameter, state in BUGS[name].measured.items():
            found = locate(case.model, parameter)
            gradient = None if found is None else found.grad
            assert (gradient is None) == (state is State.MISSING)
            assert (gradient is not None and not gradient.any()) == (state is State.ZERO)


def test_the_corpus_has_every_effect_cause_and_part_that_it_is_said_to_have() -> None:
    found = BUGS.values()
    assert {bug.part for bug in found} == set(bugs.PARTS)
    assert {bug.effect for bug in found} == set(Effect) - {Effect.EQUIVALENT, Effect.UNSTABLE}
    assert {bug.cause for bug in found} == set(Cause)
    assert all(bug.summary and bug.mechanism for bug in found)
    assert {bug.id for bug in found}.isdisjoint(NEGATIVES)


@pytest.mark.parametrize("name", [*(f"bugs/{name}" for name in BUGS), *(f"negatives/{name}" for name in NEGATIVES)])
def test_the_correct_side_of_an_entry_passes_the_baseline_gate_or_is_known_not_to(name: str) -> None:
    subject = Subject(f"corpus:{name}", providers["corpus"], name)
    if name in REFUSED:
        with pytest.raises(Refused, match=REFUSED[name]):
            trace(subject)
    else:
        assert trace(subject).live


def test_an_entry_is_a_subject_by_its_name() -> None:
    assert resolve("corpus:bugs/seed-ex2-premature-detach").build(0).trainable[0] == "0.weight"
    assert resolve("corpus:negatives/neg-byol-target-network").build(0).intended
    with pytest.raises(BadInput, match="Did you mean 'bugs/seed-ex2-premature-detach'"):
        resolve("corpus:bugs/seed-ex2-premature-detahc")


# --- records


def test_listing_bugs_needs_no_torch() -> None:
    code = "import sys; from gradfuzz.cli import listing; rows = listing.bugs(); assert 'torch' not in sys.modules; print(len(rows))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert int(done.stdout) == len(BUGS)


def test_bugs_are_listed_with_effect_cause_part_and_summary() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gradfuzz", "list", "bugs", "--json"], check=True, capture_output=True, text=True, cwd=ROOT
    )
    rows = {row["id"]: row for row in json.loads(done.stdout)}
    assert rows.keys() == BUGS.keys()
    row = rows["openrig3r-fp16-no-scaler"]
    assert (row["effect"], row["cause"], row["part"]) == ("dead", "underflow", "precision")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"effect": "dead"', '"effect": "gone"', "'gone' is not a valid Effect"),
        ('"part": "model"', '"part": "head"', "'part' cannot be 'head': it is one of model"),
        ('"year": 2025', '"year": "2025"', "'year' cannot be '2025'"),
        ('"mechanism": "detach-in-forward"', '"mechanism": "a detach"', "must be in kebab-case"),
        ('"id": "seed-ex2-premature-detach"', '"id": "other"', "must be the name of the file"),
        ('"source": "docs/article.md"', '"source": "a friend"', "neither a link nor a page"),
        ('"stuck": [],', "", "must have these keys, in this order"),
        ('"year": 2025', '"year": len("x")', "not a plain literal"),
        ("RECORD = {", "RECORDS = {", "has no RECORD"),
    ],
)
def test_a_record_of_another_form_is_refused_with_the_field(folder: Path, old: str, new: str, complaint: str) -> None:
    copied("bugs/seed-ex2-premature-detach", folder, old, new)
    with pytest.raises(BadInput, match=complaint):
        bugs.bugs()


def test_an_unknown_bug_gets_a_near_miss() -> None:
    with pytest.raises(BadInput, match="Did you mean 'wekws-zero-grad-missing'"):
        build_bug("wekws-zero-grad-mising", True)


# --- the validator


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"effect": Effect.VANISHED}, "effect is dead, recorded is vanished"),
        ({"cause": Cause.FLAT}, "cause is cut, recorded is flat"),
        ({"cause_by": "declared"}, "cause_by is measured, recorded is declared"),
        ({"silent": False}, "silent is True, recorded is False"),
        ({"loss_same": False}, "loss_same is True, recorded is False"),
        ({"stuck": ("2.weight",)}, "stuck is [], recorded is [2.weight]"),
        ({"measured": {"0.weight": State.ZERO}}, "measured is {0.weight: missing, 0.bias: missing}, recorded is {0.weight: zero}"),
    ],
)
def test_the_validator_notices_a_record_that_is_not_what_is_measured(change: dict[str, object], line: str) -> None:
    wrong = replace(BUGS["seed-ex2-premature-detach"], **change)  # type: ignore[arg-type]
    assert differences(wrong) == [f"bugs/seed-ex2-premature-detach: {line}"]


def test_the_validator_notices_a_stop_that_is_not_declared(folder: Path) -> None:
    copied("negatives/neg-byol-target-network", folder, ", intended=averaged", "")
    found = differences(bugs.negatives()["neg-byol-target-network"])
    assert found == [
        f"negatives/neg-byol-target-network: 'target.{name}' has no gradient and is not declared" for name in ("weight", "bias")
    ]


def test_the_validator_notices_a_fault_that_the_entry_excuses(folder: Path) -> None:
    copied("bugs/seed-ex2-premature-detach", folder, "F.mse_loss)", 'F.mse_loss, intended={"0": "no matter"})')
    (first, second) = differences(bugs.bugs()["seed-ex2-premature-detach"])
    assert first.endswith("the fault is on '0.weight', which is declared as intended")
    assert second.endswith("the fault is on '0.bias', which is declared as intended")


def test_the_validator_notices_a_correct_side_that_raises(folder: Path) -> None:
    copied("bugs/seed-ex2-premature-detach", folder, "if self.bug:", "if True:")
    copied("bugs/seed-ex3-hidden-detach-last", folder, "output.detach() if self.bug else output", "output.detach()")
    assert any("recorded is {0.weight: missing" in line for line in differences(bugs.bugs()["seed-ex2-premature-detach"]))
    assert any("the correct side raises in backward" in line for line in differences(bugs.bugs()["seed-ex3-hidden-detach-last"]))


def test_update_writes_what_was_measured_and_nothing_else(folder: Path) -> None:
    for name in ("bugs/sliif-resmlps-numpy-roundtrip", "bugs/dirac-occlusion-mask-comparison", "negatives/neg-lora-b-zero-first-step"):
        text = copied(name, folder).read_text("utf-8")
        start, end = text.index('    "measured"'), text.index('    "stuck"') if name.startswith("bugs") else text.index("}\n\n\n")
        (folder / f"{name}.py").write_text(f'{text[:start]}    "measured": {{}},\n{text[end:]}', "utf-8")
        script().update(name.rpartition("/")[2])
        assert (folder / f"{name}.py").read_text("utf-8") == text


def test_the_script_ends_with_the_count_and_fails_on_a_difference(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copied("bugs/seed-ex2-premature-detach", folder)
    copied("negatives/neg-byol-target-network", folder)
    monkeypatch.setattr(sys, "argv", ["validate_corpus.py"])
    assert script().main() == 0
    assert capsys.readouterr().out.startswith("1 bugs, 1 negatives: all as recorded, ")
    copied("bugs/seed-ex2-premature-detach", folder, '"silent": True', '"silent": False')
    assert script().main() == 1
    assert "bugs/seed-ex2-premature-detach: silent is True, recorded is False" in capsys.readouterr().out


# --- measuring an eager case


def linear(**changes: object) -> Case:
    torch.manual_seed(0)
    return Case(nn.Linear(3, 1), (torch.randn(4, 3), torch.randn(4, 1)), nn.functional.mse_loss, **changes)  # type: ignore[arg-type]


def test_the_gradients_are_those_that_the_optimizer_is_given() -> None:
    def clipped(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(*batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 1e-3)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    done = observe_case(linear(train_step=clipped), 0)
    assert all(gradient is not None and float(gradient.abs().max()) == pytest.approx(1e-3) for gradient in done.gradients.values())
    assert done.moved == {"weight", "bias"}


def test_a_live_gradient_whose_parameter_does_not_move_is_stuck() -> None:
    still = observe_case(linear(make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0)), 0)
    partly = observe_case(linear(make_optimizer=lambda parameters: torch.optim.SGD(parameters[:1], lr=0.1)), 0)
    right = observe_case(linear(), 0)
    assert outcome(right, still, Thresholds()).stuck == ("weight", "bias")
    assert outcome(right, partly, Thresholds()).stuck == ("bias",)
    assert effect_of(right, partly) is Effect.STUCK
    assert effect_of(right, right) is Effect.EQUIVALENT


def test_an_update_lost_to_a_narrow_format_is_stuck() -> None:
    def case(dtype: torch.dtype) -> Case:
        model, x = nn.Linear(1, 1, bias=False).to(dtype), torch.ones(4, 1, dtype=dtype)
        nn.init.ones_(model.weight)
        target = x + 1
        return Case(model, (x, target), nn.functional.mse_loss, lambda parameters: torch.optim.SGD(parameters, lr=1e-4))

    wide, narrow = observe_case(case(torch.float32), 0), observe_case(case(torch.bfloat16), 0)
    narrow.gradients = {name: gradient.float() for name, gradient in narrow.gradients.items() if gradient is not None}
    assert outcome(wide, narrow, Thresholds()).stuck == ("weight",)


def test_a_parameter_in_a_plain_list_is_found_by_its_path() -> None:
    model = nn.Module()
    model.layers = [nn.Linear(2, 3), {"last": nn.Linear(3, 1)}]
    assert locate(model, "layers.0.weight") is model.layers[0].weight
    assert locate(model, "layers.1.last.bias") is model.layers[1]["last"].bias
    assert locate(model, "layers.2.weight") is None
    assert locate(model, "nothing.at.all") is None


def test_an_exception_of_a_later_step_counts_and_the_gradients_of_the_first_stay() -> None:
    calls: list[Tensor] = []

    def reuses_a_graph(output: Tensor, target: Tensor) -> Tensor:
        calls.append(nn.functional.mse_loss(output, target))
        return calls[0]

    done = observe_case(linear(), 0, steps=1)
    broken = observe_case(replace(linear(), loss_fn=reuses_a_graph), 0)
    assert (broken.stage, broken.severed) == ("backward", False)
    assert all(torch.equal(broken.gradients[name], gradient) for name, gradient in done.gradients.items() if gradient is not None)
    assert effect_of(done, broken) is Effect.RAISES


def test_global_state_is_as_it_was_after_a_case_that_spoils_it() -> None:
    done = observe_case(build_bug("deepinv-gsdrunet-grad-mode-leak", True), 0)
    assert (done.stage, done.severed) == ("backward", True)
    assert torch.is_grad_enabled()


def test_a_bug_is_listed_under_the_effect_that_is_worst() -> None:
    bug: Bug = BUGS["misicnet-layer2-unused"]
    assert set(bug.measured.values()) == {State.MISSING, State.ALTERED}
    assert bug.effect is Effect.DEAD
