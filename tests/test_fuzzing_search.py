"""The search finds faults that are put into gradfuzz on purpose, finds none in what is right, and shrinks what it finds."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from gradfuzz.engine import Observation, backward
from gradfuzz.engine.cotangent import NOTHING, Arrival
from gradfuzz.engine.shared import SharedEngine
from gradfuzz.errors import BadInput
from gradfuzz.fuzzing import Architecture, Head, Layer, construction, corpus, targets
from gradfuzz.fuzzing.finding import Finding
from gradfuzz.fuzzing.mutation import Step
from gradfuzz.fuzzing.reduction import candidates, reduced
from gradfuzz.fuzzing.search import Search
from gradfuzz.fuzzing.session import Session
from gradfuzz.graph.flow import Cut, Flow
from gradfuzz.operators import operators
from gradfuzz.operators.draft import Mutation
from gradfuzz.records import Effect

CASES = 30  # by when a seeded fault must be found; under a second of searching each


def search(target: str, cases: int, *names: str, out: Path | None = None, enough: int | None = None) -> Search:
    """A search that stops after some cases, or finds. names: the operators that it breaks cases by."""
    chosen = targets.find(target)
    chosen = replace(chosen, operators=names) if names else chosen
    return Search(chosen, most=cases, enough=enough, out=out, per_case=40).run()


def smallest(found: Search) -> Finding:
    return min(found.finds.values(), key=lambda finding: finding.architecture.size)


def blind(found: object, incoming: object, *factors: object) -> Arrival:
    """What an edit sends on, taken for what it received whatever it is: the seeded fault."""
    return NOTHING if found is None else Arrival(1.0, incoming)


def test_a_fault_seeded_into_the_shared_engine_is_found_and_shrunk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(backward, "recognise", blind)
    found = search("engines", CASES, "zero-hook", "wrong-custom-backward", out=tmp_path, enough=1)
    (finding,) = found.finds.values()
    assert finding.operator in ("zero-hook", "wrong-custom-backward")
    assert len(finding.architecture.layers) <= 1
    assert finding.is_bug
    (script,) = [path for path in tmp_path.glob("*.py") if path.stem == finding.name]
    assert len(script.read_text("utf-8").splitlines()) <= 60
    assert corpus.replay(finding) == finding
    monkeypatch.undo()
    assert corpus.replay(finding) is None


def test_an_engine_that_raises_is_a_find_named_after_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def observe(engine: SharedEngine, mutation: Mutation) -> Observation:
        raise IndexError("seeded")

    monkeypatch.setattr(SharedEngine, "observe", observe)
    found = search("engines", CASES, "insert-detach", enough=1)
    assert {finding.effect.split()[0] for finding in found.finds.values()} == {"IndexError"}
    assert smallest(found).detail == ("IndexError: seeded",)


def test_the_engines_agree_on_the_cuts_of_random_architectures() -> None:
    assert search("engines", 12, "insert-detach", "detach-parameter", "zero-hook").finds == {}


def test_structure_and_execution_agree_on_random_architectures_and_a_wrong_prediction_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = search("structure", 15)
    assert found.finds == {}
    assert found.mutants > 50
    monkeypatch.setattr(Flow, "cut", lambda flow, value, user="": Cut(value, user, 0, 0))
    assert {finding.effect for finding in search("structure", 3).finds.values()} >= {"severed"}


def test_the_truth_of_random_architectures_is_true_and_a_false_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("insert-detach", "detach-parameter", "wrong-custom-backward", "activation-to-sign", "scale-tiny")
    assert search("truth", 6, *names).finds == {}
    measure = construction.measure
    for lie, effects in (({"effect": Effect.EQUIVALENT}, {"effect"}), ({"faithful": True}, {"faithful"})):
        monkeypatch.setattr(construction, "measure", lambda *given, lie=lie: replace(measure(*given), **lie))
        wrong = search("truth", 3, "wrong-custom-backward", "insert-detach", enough=1).finds.values()
        assert {finding.effect for finding in wrong} == effects


def test_front_ends_agree_but_for_a_region_without_gradients_that_symbolic_tracing_loses() -> None:
    session = Session.of(Architecture((Layer("linear"), Layer("no_grad", (1,)), Layer("linear", (2,))), (Head(read=3),), width=2))
    (problem,) = targets.find("front-ends").about_case(session)
    assert problem.effect == "symbolic_trace differs"
    assert "does not see torch.no_grad()" in problem.reason
    plain = Session.of(Architecture((Layer("glu", width=2), Layer("batch_norm", (1,))), (Head(read=2),), width=2))
    assert targets.find("front-ends").about_case(plain) == []


def test_grad_none_misses_zeros_partial_cuts_and_frozen_parameters(tmp_path: Path) -> None:
    names = ("zero-hook", "insert-detach", "detach-parameter", "freeze-parameter")
    found = search("detector:grad-none", CASES, *names, out=tmp_path)
    missed = {(finding.operator, finding.effect) for finding in found.finds.values()}
    assert missed >= {("zero-hook", "dead: zero"), ("insert-detach", "altered: biased"), ("freeze-parameter", "dead: missing")}
    assert all(len(finding.architecture.layers) <= 3 for finding in found.finds.values())
    assert not any(finding.is_bug for finding in found.finds.values())
    for finding in found.finds.values():
        script = (tmp_path / f"{finding.name}.py").read_text("utf-8")
        assert sum(bool(line.strip()) for line in script.splitlines()) <= 40, script


def test_a_detector_that_flags_everything_gives_false_alarms(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        "from gradfuzz.detectors import Evidence, Verdict\n\n\ndef loud(evidence: Evidence):\n"
        '    """Flags everything."""\n    return Verdict(True, ("all",), "everything")\n',
        encoding="utf-8",
    )
    found = search(f"detector:{tmp_path}/loud.py:loud", 2, "insert-detach")
    (finding,) = found.finds.values()
    assert (finding.operator, finding.effect, finding.status) == ("none", "false alarm", "false alarm")
    assert finding.architecture == Architecture()


def test_detectors_that_disagree_are_named_with_what_they_disagree_on() -> None:
    found = search("detectors:grad-none,grad-none-or-zero", 10, "zero-hook", "insert-detach")
    assert {finding.effect for finding in found.finds.values()} == {"dead: zero; only grad-none-or-zero"}


def test_what_was_found_before_an_interrupt_is_kept(tmp_path: Path) -> None:
    def interrupt(running: Search) -> None:
        if running.finds:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    target = replace(targets.find("detector:grad-none"), operators=("zero-hook",))
    found = Search(target, most=CASES, out=tmp_path, progress=interrupt).run()
    assert found.interrupted
    assert found.cases < CASES
    kept = [corpus.read(path) for path in corpus.records(tmp_path)]
    assert sorted(kept, key=str) == sorted(found.finds.values(), key=str)
    assert signal.getsignal(signal.SIGINT) is before


def test_every_kind_of_layer_gets_its_turn() -> None:
    found = search("structure", 60, "freeze-parameter")
    assert sum(found.rejected.values()) < 5
    assert {operator for operator, _ in found.tried} == {"freeze-parameter"}
    assert len({kind for _, kind in found.tried}) == 3  # rounds of twenty


def test_a_smaller_candidate_is_never_larger_in_layers_heads_or_inputs() -> None:
    large = Architecture(
        (Layer("linear", width=3), Layer("attention", (2,), 2, tied=True), Layer("concat", (3, 1))),
        (Head(read=4), Head("binary", 1, 0.5)), ("tokens", "float"), 3, 4, 5, 77,
    )  # fmt: skip
    several = list(candidates(large, "attention"))
    assert all(len(one.layers) <= 3 and len(one.heads) <= 2 and len(one.inputs) <= 2 for one in several)
    assert any(len(one.layers) == 1 for one in several)


def test_shrinking_stops_when_told_to() -> None:
    session = Session.of(Architecture((Layer("tanh"),), (Head(read=1),)))
    target = replace(targets.find("detector:grad-none"), operators=("zero-hook",))
    step: Step = session.steps([operators["zero-hook"]])[0]
    problem = target.about_mutant(session, step)
    assert problem is not None
    finding = Finding("detector:grad-none", "zero-hook", "tanh", problem.effect, session.architecture, step.mutant.site)
    assert reduced(finding, target, stop=lambda: True) is finding
    assert reduced(finding, target).architecture.size < session.architecture.size


@pytest.mark.parametrize(("name", "hint"), [("engine", "engines"), ("detector:grad-nane", "grad-none"), ("detector:", "detectors")])
def test_a_target_that_does_not_exist_is_refused_with_a_near_miss(name: str, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        targets.find(name)


def test_a_detector_that_crashes_on_a_correct_case_is_a_find_and_its_crashes_on_mutants_are_no_misses(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        'from gradfuzz.detectors import Evidence\n\n\ndef broken(evidence: Evidence):\n    """Crashes."""\n    raise KeyError("x")\n',
        encoding="utf-8",
    )
    found = search(f"detector:{tmp_path}/broken.py:broken", 2, "zero-hook")
    assert {(finding.operator, finding.effect) for finding in found.finds.values()} == {("none", "error on a correct case")}
