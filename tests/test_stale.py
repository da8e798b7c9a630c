"""What is stale is noticed by hash, named, and measured again; what is not stays as it is."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from test_campaign import SETTINGS, Counts, assert_same_tables

from gradfuzz import campaign
from gradfuzz.campaign import Execution, Settings, identity
from gradfuzz.errors import BadInput
from gradfuzz.store import Tables, load, write_manifest

OWN = """import torch
from torch import nn
{imports}

def make():
    return nn.Sequential(nn.Linear(3, {width}), nn.ReLU(), nn.Linear({width}, 2)), torch.randn(4, 3)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "campaign"
    campaign.run(SETTINGS, folder)
    return folder


@pytest.fixture(scope="module")
def tables(finished: Path) -> Tables:
    return load(finished)


def own_model(folder: Path, width: int = 4, imports: str = "") -> Settings:
    (folder / "own.py").write_text(OWN.format(width=width, imports=imports))
    return Settings(f"{folder / 'own.py'}:make", operators=("freeze-parameter", "insert-detach"))


def test_a_changed_model_is_named_and_measured_again(tmp_path: Path) -> None:
    settings = own_model(tmp_path)
    before = campaign.run(settings, tmp_path / "out")
    own_model(tmp_path, width=5)
    with pytest.raises(BadInput, match=r"this campaign as it was before \(the file of the model changed\): add --resume to measure again"):
        campaign.run(settings, tmp_path / "out")
    assert_same_tables(load(tmp_path / "out"), before)
    seen = Counts()
    again = campaign.run(settings, tmp_path / "out", resume=True, progress=seen)
    assert "are stale (model changed" in seen.said
    assert (seen.before, seen.measured) == (0, len(before.mutants))
    assert_same_tables(again, campaign.run(settings, tmp_path / "fresh"))
    assert (again.mutants.signature != before.mutants.signature).any()


def test_a_changed_module_that_the_model_imports_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "beside_own.py").write_text("SLOPE = 1\n")
    settings = own_model(tmp_path, imports="import beside_own")
    campaign.run(settings, tmp_path / "out")
    (tmp_path / "beside_own.py").write_text("SLOPE = 2\n")
    with pytest.raises(BadInput, match=r"as it was before \(.*beside_own.py changed\): add --resume"):
        campaign.run(settings, tmp_path / "out")


def test_another_seed_is_named_and_every_row_measured_again(tmp_path: Path) -> None:
    settings = Settings("corpus:mlp", operators=("wrong-custom-backward",))
    campaign.run(settings, tmp_path / "out")
    other = replace(settings, seed=1)
    with pytest.raises(BadInput, match=r"as it was before \(seed 0 there, 1 here\): add --resume"):
        campaign.run(other, tmp_path / "out")
    seen = Counts()
    again = campaign.run(other, tmp_path / "out", resume=True, progress=seen)
    assert "seed 0 there, 1 here" in seen.said
    assert_same_tables(again, campaign.run(other, tmp_path / "fresh"))


def test_another_torch_is_named_and_every_row_measured_again(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(finished, tmp_path / "out")
    real = metadata.version
    monkeypatch.setattr(identity, "version", lambda package: "9.9" if package == "torch" else real(package))
    with pytest.raises(BadInput, match=r"as it was before \(torch 2\S* there, 9.9 here\): add --resume"):
        campaign.run(SETTINGS, tmp_path / "out")
    seen = Counts()
    again = campaign.run(SETTINGS, tmp_path / "out", resume=True, progress=seen)
    assert (seen.before, seen.measured) == (0, len(again.mutants))


PLUGIN = """from gradfuzz.operators import operator
from gradfuzz.records import Kind

@operator("test-scale", family="path", on=(Kind.NODE,), may="altered equivalent dead", example="corpus:mlp::test-scale::m1")
def scale(draft, site):
    'Scale a value.'
    draft.after(site, scaled)

def scaled(value):
    return value * {factor}
"""
RESUMES = """import json, sys
from pathlib import Path
from gradfuzz import campaign

class Counts(campaign.Silent):
    said, measured = "", 0
    def say(self, text):
        self.said += text
    def advance(self, mutant, verdicts):
        self.measured += 1

seen = Counts()
settings = campaign.Settings("corpus:mlp", operators=("freeze-parameter", "test-scale"), plugins=(sys.argv[1],))
campaign.run(settings, Path(sys.argv[2]), resume=True, progress=seen)
print(json.dumps({"said": seen.said, "measured": seen.measured}))
"""


def test_a_changed_operator_is_named_and_only_its_rows_are_measured_again(tmp_path: Path) -> None:
    """In processes of their own, since a plugin is imported once in a process."""
    results = []
    for factor in (2, 3):
        (tmp_path / "scaling.py").write_text(PLUGIN.format(factor=factor))
        words = [sys.executable, "-c", RESUMES, str(tmp_path / "scaling.py"), str(tmp_path / "out")]
        ran = subprocess.run(words, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        results.append((json.loads(ran.stdout), load(tmp_path / "out").mutants))
    (first, before), (second, after) = results
    scaled = before.operator == "test-scale"
    assert first["measured"] == len(before)
    assert second["measured"] == scaled.sum() < len(before)
    assert f"{scaled.sum()} of {len(before)} rows of corpus:mlp are stale (operator test-scale changed)" in second["said"]
    assert (before[scaled].gradient_error.fillna(-1) != after[scaled].gradient_error.fillna(-1)).any()
    assert before[~scaled].equals(after[~scaled]), "seconds included"


def test_mutants_over_a_limit_are_tried_again_under_another(finished: Path, tables: Tables, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "out")
    with closing(sqlite3.connect(tmp_path / "out" / "campaign.sqlite")) as connection:
        connection.execute("UPDATE mutants SET status = 'timeout', effect = '' WHERE position = 5")
        connection.commit()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    write_manifest(tmp_path / "out", {**manifest, "failed": {"time limit": 1}, "limits": {"time limit": 1.0, "memory limit": None}})
    assert len(campaign.run(SETTINGS, tmp_path / "out", execution=Execution(time_limit=1.0)).mutants), "the same limit changes nothing"
    with pytest.raises(BadInput, match="holds this campaign under another time limit: add --resume to try again"):
        campaign.run(SETTINGS, tmp_path / "out", execution=Execution(time_limit=600.0))
    seen = Counts()
    again = campaign.run(SETTINGS, tmp_path / "out", resume=True, execution=Execution(time_limit=600.0), progress=seen)
    assert seen.measured == 1
    assert_same_tables(again, tables)


def test_of_files_that_are_not_here_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    recorded = {str(tmp_path / "a.py"): identity.file_hash(tmp_path / "a.py"), str(tmp_path / "gone.py"): "0123"}
    assert identity.changed_sources(recorded) == []
    (tmp_path / "a.py").write_text("2")
    assert identity.changed_sources(recorded) == [str(tmp_path / "a.py")]


def test_the_fingerprint_of_a_subject_depends_on_its_bits_and_nothing_else() -> None:
    from gradfuzz.graph.trace import trace
    from gradfuzz.subjects import resolve

    one, again, other = (identity.fingerprint(trace(resolve("corpus:mlp"), seed)) for seed in (0, 0, 1))
    assert one == again != other
