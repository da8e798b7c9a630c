"""Every find in ``corpora/fuzz`` is replayed for ever: what was mended stays so, what is known or a blind spot is still there."""

from __future__ import annotations

import ast
import contextlib
import io
import json
from pathlib import Path

import pytest

from gradfuzz.errors import BadInput
from gradfuzz.fuzzing import Architecture, corpus, scripts
from gradfuzz.fuzzing.finding import Finding
from gradfuzz.fuzzing.session import Session
from gradfuzz.operators import find_site, operators
from gradfuzz.records import Mutant, State

FINDS = {path.stem: path for path in corpus.records(corpus.folder())}
BROKEN = [name for name, path in FINDS.items() if json.loads(path.read_text("utf-8"))["operator"] != "none"]
STATUSES = ("known", "mended", "blind spot", "false alarm")


def run(path: Path) -> list[dict[str, list[float] | None]]:
    """What a script prints, line by line. The scripts write no file and import torch alone, so they run in this process."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(path.read_text("utf-8"), str(path), "exec"), {"__name__": "__main__"})
    return [ast.literal_eval(line.replace("nan", "None").replace("inf", "1e999")) for line in printed.getvalue().splitlines()]


@pytest.mark.parametrize("name", FINDS)
def test_a_find_is_still_what_its_record_says(name: str) -> None:
    finding = corpus.read(FINDS[name])
    assert finding.status in STATUSES, f"{name} is {finding.status}: mend what it shows, or give it a reason and the status 'known'"
    again = corpus.replay(finding)
    if finding.status == "mended":
        assert again is None, f"{name} is back: {again.detail if again else ''}"
    else:
        assert again is not None, f"{name} is gone: if that was meant, set its status to 'mended' or remove it"


@pytest.mark.parametrize("name", FINDS)
def test_the_script_of_a_find_is_up_to_date_and_needs_torch_alone(name: str) -> None:
    script, finding = FINDS[name].with_suffix(".py").read_text("utf-8"), corpus.read(FINDS[name])
    if finding.status != "mended":  # that of a mended one shows what was wrong then
        assert script == scripts.write(finding)
    imported = {
        (node.names[0].name if isinstance(node, ast.Import) else node.module or "").split(".")[0]
        for node in ast.walk(ast.parse(script))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert imported <= {"torch", "numpy", "typing", "__future__", "math", "operator"}


@pytest.mark.parametrize("name", BROKEN)
def test_the_script_of_a_mutant_loses_the_gradients_that_the_naive_engine_loses(name: str) -> None:
    finding = corpus.read(FINDS[name])
    session, operator = Session.of(finding.architecture), operators[finding.operator]
    mutant = Mutant(session.traced.name, finding.operator, finding.site, finding.variant)
    seen = session.naive.observe(operator.mutate(session.traced, find_site(operator, session.traced, mutant), finding.variant))
    right, broken = run(FINDS[name].with_suffix(".py"))
    live = session.traced.live
    assert all(right[parameter] is not None for parameter in live)
    missing = {parameter for parameter, compared in seen.compared.items() if compared.state is State.MISSING}
    assert {parameter for parameter in live if broken[parameter] is None} == missing & set(live)


def test_a_record_that_nobody_wrote_is_refused(tmp_path: Path) -> None:
    for text, says in (("{", "no record"), ("[]", "no record"), ('{"target": "engines"}', "has no 'architecture'")):
        (tmp_path / "x.json").write_text(text, encoding="utf-8")
        with pytest.raises(BadInput, match=says):
            corpus.read(tmp_path / "x.json")


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    finding = Finding("detector:grad-none", "zero-hook", "mse", "dead: zero", Architecture(), "h0", detail=("h0.weight is zero",))
    path = corpus.save(corpus.with_status(finding), tmp_path)
    assert corpus.read(path.with_suffix(".json")) == corpus.with_status(finding)
    assert json.loads(path.with_suffix(".json").read_text("utf-8"))["layers"] == 0
