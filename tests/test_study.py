"""The study's script on two small subjects: what it writes can be written again from its tables, byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
MODELS = ("corpus:mlp", "corpus:residual-mlp", "torchvision:squeezenet1_1", "eval:squeezenet1_1")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "models.txt").write_text("\n".join(MODELS))
    study("--work", str(folder / "work"), "--models", str(folder / "models.txt"), "--jobs", "1", "--out", str(folder / "out"))
    return folder / "out"


def study(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "scripts/study.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_everything_is_written_again_from_the_tables(out: Path) -> None:
    written = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    study("--from-tables", "--out", str(out))
    assert {path.name for path in written} >= {"README.md", "report.html", "report.md", "mutants.parquet", "ranking.svg", "modes.csv"}
    assert [path.name for path, content in written.items() if path.read_bytes() != content] == []


def test_the_findings_say_what_the_tables_hold(out: Path) -> None:
    text, mutants = (out / "README.md").read_text(), pd.read_parquet(out / "mutants.parquet")
    assert f"3 models in train mode (2 of corpus, 1 of torchvision) and 1 in eval mode, {len(mutants):,} mutants." in text
    cuts = pd.read_csv(out / "tables" / "modes.csv").iloc[0]
    assert (cuts["model"], cuts["killing_train"]) == ("squeezenet1_1", cuts["killing_eval"])  # a matter of structure
    assert json.loads((out / "models.json").read_text())["refused"] == {}


def test_without_a_word_what_to_do_it_says_so() -> None:
    done = subprocess.run([sys.executable, "scripts/study.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "study: say where to measure, --work DIR, or that nothing is to be measured, --from-tables\n"
