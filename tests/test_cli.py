"""The command line: what it prints, what it exits with, and that whatever is wrong is one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch

from gradfuzz import __version__, cli
from gradfuzz.cli.terminal import duration, printable
from gradfuzz.detectors import detectors
from gradfuzz.operators import operators
from gradfuzz.store import load

VERBS = ("run", "list", "show", "replay", "report")
CUT = "corpus:mlp::insert-detach::m0"


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout, in which NaN and Infinity would be no JSON."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        return json.loads(self.out, parse_constant=refuse)


Gradfuzz = Callable[..., Ended]


@pytest.fixture
def gradfuzz(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Gradfuzz:
    """The console script, in this process and in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["gradfuzz", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return Ended(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished campaign."""
    from gradfuzz.campaign import Settings, run

    out = tmp_path_factory.mktemp("cli") / "campaign"
    run(Settings("corpus:mlp", operators=("insert-detach", "flip-requires-grad-input", "wrong-custom-backward")), out)
    return out


def refused(ended: Ended) -> str:
    """The one line of a refusal, after whatever was said of the progress."""
    assert ended.code == 2, ended
    assert ended.out == ""
    *before, line = ended.err.splitlines()
    assert line.startswith("gradfuzz: "), ended.err
    assert not any(text.startswith("gradfuzz: ") for text in before)
    assert "Traceback" not in ended.err
    assert len(line) < 600
    return line


# --- help


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_each_verb_has_an_example_of_it(gradfuzz: Gradfuzz, verb: str) -> None:
    ended = gradfuzz(verb, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "Example" in ended.out
    assert f"gradfuzz {verb} " in ended.out.split("Example", 1)[1]


def test_the_help_of_the_whole_names_the_verbs(gradfuzz: Gradfuzz) -> None:
    ended = gradfuzz("--help")
    assert ended.code == 0
    assert all(f"  {verb} " in ended.out for verb in VERBS)
    alone = gradfuzz()
    assert (alone.code, alone.out) == (2, "")
    assert "Usage: " in alone.err


def test_the_version_is_printed(gradfuzz: Gradfuzz) -> None:
    assert gradfuzz("--version") == (0, f"gradfuzz {__version__}\n", "")


# --- run


def test_a_run_ends_with_its_findings_and_where_they_are(gradfuzz: Gradfuzz, tmp_path: Path) -> None:
    ended = gradfuzz("run", "--model", "corpus:mlp", "--operators", "insert-detach,flag", "--limit", 12, "--out", "x")
    assert ended.code == 0
    for title in ("Effects by operator", "Fragility of corpus:mlp", "The most damaging silent faults", "Detectors"):
        assert title in ended.out
    assert "x: tables (gradfuzz.load), report.html, manifest.json" in ended.out
    assert "13 rows to measure" in ended.err
    assert {path.name for path in (tmp_path / "x").iterdir()} >= {
        "manifest.json", "campaign.sqlite", "mutants.parquet", "parameters.parquet", "verdicts.parquet", "report.md",
    }  # fmt: skip
    assert load("x").manifest["command"] == "gradfuzz run --model corpus:mlp --operators insert-detach,flag --limit 12 --out x"


def test_a_run_without_a_folder_makes_one_under_results(gradfuzz: Gradfuzz, tmp_path: Path) -> None:
    ended = gradfuzz("run", "--model", "corpus:mlp", "--operators", "insert-detach", "--limit", 1, "--json")
    (made,) = (tmp_path / "results").iterdir()
    assert made.name.startswith("mlp-")
    assert ended.document["folder"] == f"results/{made.name}"


def test_the_summary_of_a_run_is_a_document_for_programs(gradfuzz: Gradfuzz, folder: Path) -> None:
    arguments = ("run", "--model", "corpus:mlp", "--operators", "insert-detach,flip-requires-grad-input,wrong-custom-backward")
    ended = gradfuzz(*arguments, "--out", folder, "--json")
    assert (ended.code, ended.err) == (0, f"{folder} is complete: nothing to do\n")
    mutants = load(folder).mutants
    assert ended.document["effects"] == {k: int(v) for k, v in mutants.effect.value_counts().sort_index().items()}
    assert ended.document["fragility"]["mutants"] == len(mutants) - 1
    assert [row["detector"] for row in ended.document["detectors"]] == [d.name for d in detectors.values() if d.needs == "observation"]
    assert set(ended.document["most_damaging"]) < set(mutants.mutant)


@pytest.mark.parametrize("operator", ["flip-requires-grad-input", "sqrt-at-zero", "flip-requires-grad-intermediate"])
def test_a_run_in_which_nothing_can_be_counted_still_ends_well(gradfuzz: Gradfuzz, operator: str) -> None:
    told = gradfuzz("run", "--model", "corpus:quantiser", "--operators", operator, "--out", "x")
    assert told.code == 0, told.err
    document = gradfuzz("run", "--model", "corpus:quantiser", "--operators", operator, "--out", "x", "--json").document
    assert document["fragility"]["cuts"] == 0
    assert document["fragility"]["killing"] is None


def test_thresholds_are_taken_and_remembered(gradfuzz: Gradfuzz) -> None:
    arguments = ("run", "--model", "corpus:mlp", "--operators", "wrong-custom-backward", "--limit", 3, "--out", "x")
    assert gradfuzz(*arguments, "--threshold", "vanished=0.5", "--threshold", "batches=2").code == 0
    assert load("x").manifest["campaign"]["thresholds"]["vanished"] == 0.5
    assert load("x").manifest["campaign"]["thresholds"]["batches"] == 2


def test_a_bare_module_gets_its_input_from_the_command_line(gradfuzz: Gradfuzz, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("from torch import nn\n\n\ndef make():\n    return nn.Linear(3, 2)\n")
    line = refused(gradfuzz("run", "--model", "own.py:make", "--out", "x"))
    assert "--input" in line
    assert gradfuzz("run", "--model", "own.py:make", "--input", "4x3", "--operators", "insert-detach", "--out", "x").code == 0
    assert load("x").manifest["inputs"]["inputs_0"] == "(4, 3) torch.float32"


# --- list


@pytest.mark.parametrize(
    ("what", "some"), [("subjects", "torchvision:resnet18"), ("operators", "insert-detach"), ("detectors", "grad-none")]
)
def test_a_list_shows_everything_that_is_registered(gradfuzz: Gradfuzz, what: str, some: str) -> None:
    assert some in gradfuzz("list", what).out
    rows = gradfuzz("list", what, "--json").document
    assert any(some in row.values() for row in rows)
    assert len(rows) >= {"subjects": 90, "operators": len(operators), "detectors": len(detectors)}[what]
    assert all(row["summary"] for row in rows)


def test_the_mutants_of_a_model_are_listed_with_their_place(gradfuzz: Gradfuzz) -> None:
    rows = gradfuzz("list", "mutants", "--model", "corpus:residual-mlp", "--operators", "insert-detach", "--json").document
    assert {row["mutant"].rpartition("::")[0] for row in rows} == {"corpus:residual-mlp::insert-detach"}
    assert any(row["source"].startswith("corpora/architectures/residual_mlp.py:") for row in rows)
    assert rows[0]["mutant"] in gradfuzz("list", "mutants", "--model", "corpus:residual-mlp", "--operators", "insert-detach").out


# --- show, replay, report


def test_a_mutant_is_shown_with_its_code_and_its_truth(gradfuzz: Gradfuzz) -> None:
    ended = gradfuzz("show", CUT)
    assert ended.code == 0
    assert "Detach a value" in ended.out
    assert any(line.startswith("+ ") for line in ended.out.splitlines())
    assert "missing (2)" in ended.out
    document = gradfuzz("show", CUT, "--json").document
    assert (document["mutant"], document["truth"]["effect"], document["truth"]["cause"]) == (CUT, "dead", "cut")
    assert document["truth"]["parameters"] == {"0.weight": "missing", "0.bias": "missing"}
    assert document["before"] != document["after"]


def test_a_script_needs_no_gradfuzz_and_the_control_has_none(gradfuzz: Gradfuzz) -> None:
    ended = gradfuzz("show", CUT, "--script")
    assert ended.code == 0
    assert "import torch" in ended.out
    assert "import gradfuzz" not in ended.out
    assert "the control" in refused(gradfuzz("show", "corpus:mlp::none::.", "--script"))


@pytest.mark.parametrize("mutant", [CUT, "corpus:mlp::none::.", "corpus:mlp::insert-detach::loss_cross_entropy_loss"])
def test_what_is_shown_is_json_whatever_the_effect(gradfuzz: Gradfuzz, mutant: str) -> None:
    assert gradfuzz("show", mutant, "--json").document["mutant"] == mutant
    assert gradfuzz("show", mutant).code == 0


def test_a_replay_that_agrees_exits_with_0_and_one_that_differs_with_1(gradfuzz: Gradfuzz, folder: Path, tmp_path: Path) -> None:
    import shutil

    same = gradfuzz("replay", CUT, "--from", folder)
    assert (same.code, same.err) == (0, "")
    assert f"same as stored in {folder}" in same.out
    assert gradfuzz("replay", CUT, "--from", folder, "--json").document["differences"] == {}
    shutil.copytree(folder, tmp_path / "other")
    mutants = pd.read_parquet(tmp_path / "other" / "mutants.parquet")
    mutants.loc[mutants.mutant == CUT, "effect"] = "vanished"
    mutants.to_parquet(tmp_path / "other" / "mutants.parquet", index=False)
    differs = gradfuzz("replay", CUT, "--from", "other")
    assert (differs.code, differs.err) == (1, "")
    assert "differs from what is stored in other" in differs.out
    found = gradfuzz("replay", CUT, "--from", "other", "--json")
    assert found.code == 1
    assert found.document["differences"] == {"effect": ["vanished", "dead"]}


def test_a_replay_without_a_folder_only_measures(gradfuzz: Gradfuzz) -> None:
    ended = gradfuzz("replay", CUT, "--json")
    assert ended.code == 0
    assert ended.document["truth"]["effect"] == "dead"


def test_a_report_is_written_again_from_the_rows(gradfuzz: Gradfuzz, folder: Path) -> None:
    (folder / "report.md").unlink(missing_ok=True)
    ended = gradfuzz("report", folder)
    assert (ended.code, ended.out, ended.err) == (0, f"{folder / 'report.html'}\n{folder / 'report.md'}\n", "")
    first = (folder / "report.md").read_bytes()
    assert b"insert-detach" in first
    gradfuzz("report", folder)
    assert (folder / "report.md").read_bytes() == first


# --- bad input


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("run --model resnet81", "there is no model 'resnet81'. Did you mean 'resnet18'"),
        ("run --model corpus:mpl", "corpus has no model 'mpl'. Did you mean 'mlp'"),
        ("run --model corpus:mlp --operators insert-detatch", "Did you mean 'insert-detach'"),
        ("run --model corpus:mlp --operators ,", "names nothing"),
        ("run --model corpus:mlp --detectors grad-nan", "Did you mean 'grad-none'"),
        ("run --model corpus:mlp --threshold vanish=1", "there is no threshold 'vanish'. Did you mean 'vanished'?"),
        ("run --model corpus:mlp --threshold same=tiny", "'tiny' is no number for the threshold 'same'"),
        ("run --model corpus:mlp --threshold same=-1", "the threshold 'same' must be positive"),
        ("run --model corpus:mlp --threshold same=nan", "the threshold 'same' must be positive"),
        ("run --model corpus:mlp --input 2y3", "'2y3' is no shape: write sizes with x between them"),
        ("run --model corpus:mlp --input 2x0", "'2x0' is no shape"),
        ("run --model corpus:mlp --input 2x3", "corpus:mlp has a batch of its own: leave out --input"),
        ("run --model corpus:mlp --device tpu", "there is no device 'tpu': use cpu or cuda"),
        ("run --model corpus:mlp --engine quantum", "there is no engine 'quantum'"),
        ("run --model corpus:mlp --limit 0", "Invalid value for '--limit'"),
        ("run --model corpus:mlp --limit many", "Invalid value for '--limit'"),
        ("run --model corpus:mlp --seed -1", "Invalid value for '--seed'"),
        ("run", "which model? Add --model"),
        ("runn --model corpus:mlp", "No such command 'runn'"),
        ("run --modle corpus:mlp", "No such option"),
        ("run --model nowhere.py:make", "there is no file 'nowhere.py'"),
        ("run --model no.such.module:make", "there is no module 'no'"),
        ("list", "Missing argument"),
        ("list mutations", "'mutations' is not one of"),
        ("list mutants", "whose mutants? Add --model"),
        ("show mlp", "'mlp' is no mutant: write subject::operator::site"),
        ("show corpus:mlp::insert-detach::m9", "has no site 'm9' in corpus:mlp"),
        ("show corpus:mlp::insert-detach::m0#1", "has variants 0 to 0, not 1"),
        ("show corpus:mlp::insert-detatch::m0", "Did you mean 'insert-detach'"),
        ("show corpus:mpl::insert-detach::m0", "Did you mean 'mlp'"),
        ("replay corpus:mlp::insert-detach::m0 --from nowhere", "nowhere is no campaign folder"),
        ("replay corpus:mlp::insert-detach::m0 --engine quantum", "there is no engine 'quantum'"),
        ("report nowhere", "nowhere is no campaign folder, and has none below it"),
    ],
)
def test_bad_input_is_one_line_that_names_it(gradfuzz: Gradfuzz, tmp_path: Path, arguments: str, says: str) -> None:
    assert says in refused(gradfuzz(*arguments.split()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_one_line(gradfuzz: Gradfuzz) -> None:
    assert "torch sees no CUDA device here" in refused(gradfuzz("run", "--model", "corpus:mlp", "--device", "cuda"))


HEAD = "import random, time\nimport torch\nfrom torch import nn\nfrom gradfuzz import Case\n\n\n"
LINE = "nn.Linear(3, 2), torch.randn(4, 3)"
BAD_MODELS = {
    "does not import": ("import no_such_package\n", "'own.py' cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
    "is no Python": ("def make(:\n", "SyntaxError"),
    "raises on import": ("1 / 0\n", "ZeroDivisionError: division by zero"),
    "leaves on import": ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
    "has no such function": ("def mak():\n    return None\n", "it has no function 'make'. Did you mean 'mak'?"),
    "raises": ("def make():\n    raise ValueError('no\\nweights')\n", "raised ValueError: no"),
    "wants arguments": ("def make(size):\n    return size\n", "needs arguments (size): give them defaults"),
    "returns nonsense": ("def make():\n    return 3, 'x'\n", "returned a tuple of (an int, a str): return a gradfuzz Case"),
    "returns nothing": ("def make():\n    pass\n", "returned None: return a gradfuzz Case"),
    "has no parameters": ("def make():\n    return nn.ReLU(), torch.randn(4, 3)\n", "the ReLU has no parameters"),
    "is frozen": ("def make():\n    return nn.Linear(3, 2).requires_grad_(False), torch.randn(4, 3)\n", "has only frozen parameters"),
    "does not fit its batch": ("def make():\n    return nn.Linear(3, 2), torch.randn(4, 5)\n", "the model's forward raised on"),
    "starts with NaN": (
        "def make():\n    model = nn.Linear(3, 2)\n    model.bias.data += float('nan')\n    return model, torch.randn(4, 3)\n",
        "the loss is nan before any mutation",
    ),
    "has an infinite gradient": (
        f"def make():\n    return {LINE}, lambda y: ((y - y) ** 0.5 + y).mean()\n", "is not finite before any mutation",
    ),
    "has a loss without grad": (
        f"def make():\n    return {LINE}, lambda y: y.detach().mean()\n", "the loss does not require grad: nothing in this case trains",
    ),
    "has a loss that is no scalar": (f"def make():\n    return {LINE}, lambda y: y\n", "let loss_fn return a scalar tensor"),
    "is not deterministic": (
        "class M(nn.Linear):\n    def forward(self, x):\n        return super().forward(x) * (1 + time.perf_counter_ns() % 99991)\n\n\n"
        "def make():\n    return M(3, 2), torch.randn(4, 3), lambda y: (y ** 2).mean()\n",
        "two runs with one seed differ: the subject is not deterministic",
    ),
    "branches on data": (
        "class M(nn.Linear):\n    def forward(self, x):\n        if x.sum() > 0:\n            x = -x\n"
        "        return super().forward(x)\n\n\n"
        "def make():\n    return M(3, 2), torch.randn(4, 3)\n",
        "cannot trace own.py:9 `if x.sum() > 0:`",
    ),
    "takes an item": (
        "class M(nn.Linear):\n    def forward(self, x):\n        y = super().forward(x)\n"
        "        return y if y.abs().max().item() > 1 else 2 * y\n\n\n"
        "def make():\n    return M(3, 2), torch.randn(4, 3)\n",
        "cannot trace own.py:10",
    ),
    "has a backward of its own": (
        "class F(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, x):\n        return x * 1\n\n"
        "    @staticmethod\n    def backward(ctx, g):\n        return 3 * g\n\n\n"
        "class M(nn.Linear):\n    def forward(self, x):\n        return F.apply(super().forward(x))\n\n\n"
        "def make():\n    return M(3, 2), torch.randn(4, 3)\n",
        "torch.export traced another function than the model computes (custom autograd function, hook?)",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")  # those of the bad models, on their way to being refused
@pytest.mark.parametrize("fault", BAD_MODELS)
def test_a_model_that_will_not_do_is_one_line_with_the_reason(gradfuzz: Gradfuzz, tmp_path: Path, fault: str) -> None:
    source, says = BAD_MODELS[fault]
    (tmp_path / "own.py").write_text(HEAD + source)
    assert says in refused(gradfuzz("run", "--model", "own.py:make", "--out", "x"))
    assert not (tmp_path / "x").exists()


def test_a_folder_that_will_not_do_is_one_line_and_is_left_alone(gradfuzz: Gradfuzz, folder: Path, tmp_path: Path) -> None:
    run = ("run", "--model", "corpus:mlp", "--operators", "insert-detach", "--limit", 2, "--out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    assert "mine is not empty and no campaign of ours" in refused(gradfuzz(*run, "mine"))
    assert "cannot be read" in refused(gradfuzz(*run, "mine/thesis.tex/x"))
    assert "choose" in refused(gradfuzz(*run, "/proc/gradfuzz"))
    assert f"{folder} holds another campaign (operators" in refused(gradfuzz(*run, folder))
    (tmp_path / "mine" / "manifest.json").write_text('{"name": "left-pad"}')
    for verb in (run, ("report",), ("replay", CUT, "--from")):
        assert "no manifest of gradfuzz" in refused(gradfuzz(*verb, "mine"))
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["manifest.json", "thesis.tex"]


def test_a_damaged_campaign_is_one_line_for_every_verb_that_reads_it(gradfuzz: Gradfuzz, tmp_path: Path) -> None:
    run = ("run", "--model", "corpus:mlp", "--operators", "insert-detach", "--limit", 2, "--out", "x")
    assert gradfuzz(*run).code == 0
    (tmp_path / "x" / "mutants.parquet").write_bytes(b"PAR1")
    for verb in (run, ("report", "x"), ("replay", CUT, "--from", "x")):
        assert "mutants.parquet cannot be read" in refused(gradfuzz(*verb))
    (tmp_path / "x" / "mutants.parquet").unlink()
    assert gradfuzz(*run).code == 0, "and with the advice it works"
    (tmp_path / "x" / "campaign.sqlite").write_bytes(b"x" * 5000)
    assert "campaign.sqlite is damaged" in refused(gradfuzz("report", "x"))


def test_a_report_that_cannot_be_written_is_one_line(gradfuzz: Gradfuzz, tmp_path: Path) -> None:
    gradfuzz("run", "--model", "corpus:mlp", "--operators", "insert-detach", "--limit", 1, "--out", "x")
    (tmp_path / "x" / "report.md").unlink()
    (tmp_path / "x" / "report.md").mkdir()
    assert "choose a folder that can be written" in refused(gradfuzz("report", "x"))


def test_what_steers_a_terminal_is_not_printed(gradfuzz: Gradfuzz) -> None:
    assert "\x1b" not in refused(gradfuzz("run", "--model", "\x1b[2Jmlp"))
    assert printable("a\x1b[2Jb\n") == "a?[2Jb?"


def test_the_traceback_is_there_for_those_who_ask(gradfuzz: Gradfuzz, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradfuzz.errors import BadInput

    monkeypatch.setattr(sys, "argv", ["gradfuzz", "--debug", "show", "mlp"])
    with pytest.raises(BadInput, match="'mlp' is no mutant"):
        cli.main()
    refused(gradfuzz("show", "mlp"))


# --- as a process of its own


def process(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "gradfuzz", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_as_a_module_it_is_the_same_program(tmp_path: Path) -> None:
    ran = process("--debug", "show", "mlp", cwd=tmp_path)
    out, err = ran.communicate()
    assert (ran.returncode, out) == (1, "")
    assert err.startswith("Traceback")
    ran = process("show", "mlp", cwd=tmp_path)
    out, err = ran.communicate()
    assert refused(Ended(ran.returncode, out, err)).startswith("gradfuzz: 'mlp' is no mutant")


def test_ctrl_c_keeps_what_was_finished_and_says_how_to_go_on(gradfuzz: Gradfuzz, tmp_path: Path) -> None:
    arguments = ("run", "--model", "corpus:transformer", "--out", "my results")
    ran = process(*arguments, cwd=tmp_path)
    assert ran.stderr is not None
    while "rows to measure" not in (line := ran.stderr.readline()):
        assert line, "it ended before it began"
    ran.send_signal(signal.SIGINT)
    out, err = ran.communicate()
    assert (ran.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert "To go on: " in err
    again = err.split("To go on: ")[1].strip()
    assert again == "gradfuzz run --model corpus:transformer --out 'my results' --resume"
    done = len(load(tmp_path / "my results").mutants)
    assert "gradfuzz: " in gradfuzz(*arguments).err, "not without --resume"
    assert len(load(tmp_path / "my results").mutants) == done


@pytest.mark.parametrize(("seconds", "text"), [(3.4, "3 s"), (99, "99 s"), (100, "2 min"), (7200, "2.0 h")])
def test_durations_are_told_with_a_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
