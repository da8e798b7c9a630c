"""``gradfuzz run`` and ``gradfuzz merge`` as they are called: several models, parts of them, defaults of a project, and what they print."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import Gradfuzz, gradfuzz, refused

from gradfuzz.cli import running
from gradfuzz.errors import BadInput
from gradfuzz.store import load

__all__ = ["gradfuzz"]
FEW = ("--operators", "freeze-parameter")


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("30min", 1800), ("2h", 7200), ("1h30min", 5400), ("1.5 h", 5400), ("1d", 86400)]
)
def test_durations_are_read_with_their_units(text: str, expected: float) -> None:
    assert running.seconds(text, "--time-limit") == expected


@pytest.mark.parametrize("text", ["", "soon", "2 weeks", "-5s", "1h and a bit", "h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no duration for --time-budget: write 90s, 30min"):
        running.seconds(text, "--time-budget")


def test_shares_and_shards_are_read() -> None:
    assert (running.share("10%"), running.share("0.25"), running.share(None)) == (0.1, 0.25, None)
    assert (running.shard("2/4"), running.shard(None)) == ((2, 4), None)
    for text in ("many", "%"):
        with pytest.raises(BadInput, match="is no share for --sample"):
            running.share(text)
    for text in ("2", "2/", "a/b", "-1/4", "1/4/2"):
        with pytest.raises(BadInput, match="is no shard: write I/N"):
            running.shard(text)


def test_a_file_of_models_has_one_a_line_and_comments(tmp_path: Path) -> None:
    (tmp_path / "zoo.txt").write_text("# small ones\ncorpus:mlp\n\n  corpus:cnn  # with BatchNorm\n")
    assert running.models(["resnet18"], [tmp_path / "zoo.txt"]) == ("resnet18", "corpus:mlp", "corpus:cnn")
    with pytest.raises(BadInput, match=r"--models .*nowhere.txt cannot be read"):
        running.models([], [tmp_path / "nowhere.txt"])
    with pytest.raises(BadInput, match="which model"):
        running.models([], [])


def test_several_models_have_a_folder_each_and_one_table(gradfuzz: Gradfuzz, tmp_path: Path) -> None:
    (tmp_path / "zoo.txt").write_text("corpus:cnn\n")
    ended = gradfuzz("run", "--model", "corpus:mlp", "--models", "zoo.txt", *FEW, "--out", "zoo")
    assert ended.code == 0, ended.err
    assert "zoo: a campaign folder for each model" in ended.out
    for name in ("corpus-mlp", "corpus-cnn"):
        assert load(tmp_path / "zoo" / name).manifest["status"] == "complete"
        assert (tmp_path / "zoo" / name / "report.md").exists()
    again = gradfuzz("run", "--model", "corpus:mlp", "--models", "zoo.txt", *FEW, "--out", "zoo", "--json")
    assert [row["state"] for row in again.document["models"]] == ["complete", "complete"]
    assert "is complete: nothing to do" in again.err


def test_one_refused_model_of_several_is_named_and_exits_with_2(gradfuzz: Gradfuzz, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from torch import nn, randn\n\ndef make():\n    return nn.Linear(2, 2).requires_grad_(False), randn(2, 2)\n"
    )
    ended = gradfuzz("run", "--model", "own.py:make", "--model", "corpus:mlp", *FEW, "--out", "two")
    assert ended.code == 2
    assert "gradfuzz: own.py:make: " in ended.err or "only frozen parameters" in ended.err
    assert load(tmp_path / "two" / "corpus-mlp").manifest["status"] == "complete"


def test_two_models_that_would_share_a_folder_are_refused(gradfuzz: Gradfuzz) -> None:
    assert "name each once" in refused(gradfuzz("run", "--model", "corpus:mlp", "--model", "corpus:mlp", "--out", "x"))


def test_json_lines_tell_each_row_and_end_with_a_summary(gradfuzz: Gradfuzz) -> None:
    words = ("--operators", "insert-detach", "--detectors", "grad-norm-below-eps", "--json-lines", "--out", "x")
    ended = gradfuzz("run", "--model", "corpus:mlp", *words)
    events = [json.loads(line) for line in ended.out.splitlines()]
    kinds = [event["event"] for event in events]
    planned = events[0]["planned"]
    assert (kinds[0], kinds[-2], kinds[-1]) == ("start", "end", "summary")
    assert kinds.count("row") == planned == len(load("x").mutants)
    control = next(event for event in events if event["event"] == "row" and event["mutant"] == "corpus:mlp::none::.")
    assert (control["effect"], control["status"], control["flagged_by"]) == ("equivalent", "ok", [])
    assert kinds.count("survivor") == events[-2]["distinct_survivors"]
    assert events[-2]["outcome"] == "complete"


def test_survivors_are_named_as_they_appear(gradfuzz: Gradfuzz) -> None:
    words = ("--operators", "insert-detach", "--detectors", "grad-or-loss-nonfinite", "--out", "x")
    ended = gradfuzz("run", "--model", "corpus:mlp", *words)
    assert re.search(r"^survivor: corpus:mlp::insert-detach::\S+ \(dead, cut\)$", ended.err, re.MULTILINE), ended.err
    faults = load("x").mutants.query("effect == 'dead'")
    assert f"{faults.signature.nunique()} distinct survivors" in ended.err


def test_the_defaults_of_a_project_are_taken_and_arguments_come_first(gradfuzz: Gradfuzz, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.gradfuzz]\nmodel = ["corpus:mlp"]\noperators = ["freeze-parameter"]\nseed = 3\nout = "kept"\n[tool.gradfuzz.check]\nx = 1\n'
    )
    assert gradfuzz("run").code == 0
    settings = load(tmp_path / "kept").manifest["campaign"]
    assert (settings["model"], settings["seed"], settings["operators"]) == ("corpus:mlp", 3, ["freeze-parameter"])
    assert gradfuzz("run", "--seed", 4, "--out", "other").code == 0
    assert load(tmp_path / "other").manifest["campaign"]["seed"] == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.gradfuzz]\nopeators = 3\n", "[tool.gradfuzz] has no setting 'opeators'. Did you mean 'operators'"),
        ("[tool.gradfuzz\n", "pyproject.toml cannot be read"),
    ],
)
def test_defaults_that_make_no_sense_are_one_line(gradfuzz: Gradfuzz, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert says in refused(gradfuzz("run", "--model", "corpus:mlp"))


def test_parts_are_merged_by_the_command(gradfuzz: Gradfuzz, tmp_path: Path) -> None:
    for number in (1, 2):
        assert gradfuzz("run", "--model", "corpus:mlp", *FEW, "--shard", f"{number}/2", "--out", f"part-{number}").code == 0
    ended = gradfuzz("merge", "part-1", "part-2", "--out", "whole")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("whole: 7 of 7 rows, report")
    assert "is not empty" in refused(gradfuzz("merge", "part-1", "part-2", "--out", "whole"))


def test_too_little_time_leaves_a_folder_to_resume(gradfuzz: Gradfuzz) -> None:
    ended = gradfuzz("run", "--model", "corpus:mlp", *FEW, "--time-budget", "0.001s", "--out", "x")
    assert "the time budget was spent before a mutant of corpus:mlp was measured: give more" in refused(ended)
    assert "To go on: gradfuzz run --model corpus:mlp" in ended.err


# --- as processes of their own


def processes(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "gradfuzz", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_sigterm_keeps_what_was_finished_and_says_how_to_go_on(tmp_path: Path) -> None:
    arguments = ("run", "--model", "corpus:transformer", "--operators", "block", "--jobs", 2, "--json-lines", "--out", "x")
    ran = processes(*arguments, cwd=tmp_path)
    assert ran.stdout is not None
    for line in ran.stdout:
        if json.loads(line)["event"] == "row":
            break
    ran.send_signal(signal.SIGTERM)
    _, err = ran.communicate()
    assert ran.returncode == 130, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("interrupted; what was finished is in x. To go on: gradfuzz run --model")
    assert len(load(tmp_path / "x").mutants) > 0


@pytest.mark.slow
def test_a_tenth_of_the_chaos_changes_no_table(tmp_path: Path) -> None:
    """Five runs, one of each disturbance. The other nasty mutants are in ``test_executors.py``."""
    script = Path(__file__).parent.parent / "scripts" / "chaos.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [
        sys.executable,
        str(script),
        "--runs",
        "5",
        "--nasty",
        "segfault",
        "--nasty",
        "os._exit in a detector",
        "--out",
        str(tmp_path / "chaos.json"),
    ]
    ran = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"5 runs, \d+ disturbances, .*: 0 rows lost, 0 doubled, 0 runs that are not as undisturbed", ran.stdout)
