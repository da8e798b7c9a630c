"""Runtime mutants on the road of a campaign: ``gradfuzz run --level runtime``."""

from __future__ import annotations

import json

import pytest

from gradfuzz import api, campaign
from gradfuzz.cli import listing, showing
from gradfuzz.errors import BadInput, Refused
from gradfuzz.records import Mutant

MINE = '''"""Goes another way for other values."""
import torch
from torch import nn

import gradfuzz


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, x):
        hidden = torch.tanh(self.first(x))
        if hidden.mean().item() > -1:
            hidden = 2 * hidden
        return self.last(hidden)


def case():
    return gradfuzz.Case(Net(), (torch.randn(8, 4), torch.randn(8, 1)), nn.functional.mse_loss)
'''


@pytest.fixture
def mine(tmp_path, monkeypatch) -> str:
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return "mine.py:case"


def test_the_refusal_of_an_untraceable_model_names_the_runtime_level(mine, tmp_path):
    with pytest.raises(Refused, match=r"--level runtime"):
        campaign.run(campaign.Settings(mine), tmp_path / "out")


def test_a_campaign_at_runtime_level_fills_the_tables_of_any_other(mine, tmp_path):
    tables = campaign.run(campaign.Settings(mine, level="runtime"), tmp_path / "out")
    mutants = tables.mutants.set_index("mutant")
    control = mutants.loc[f"{mine}::none::."]
    assert control["effect"] == "equivalent"
    broken = mutants[mutants["operator"] != "none"]
    assert set(broken["level"]) == {"runtime"}
    assert set(broken["status"]) == {"ok"}
    assert "mine.py:14" in set(broken["source"])
    (cut,) = [name for name in broken.index if Mutant.parse(name) == Mutant(mine, "runtime-detach", "mine.py:14:tanh:1")]
    assert (broken.loc[cut, "effect"], broken.loc[cut, "cause"], broken.loc[cut, "params_missing"]) == ("dead", "cut", 2)
    said = tables.verdicts[(tables.verdicts["mutant"] == cut) & (tables.verdicts["detector"] == "grad-none")]
    assert said["flagged"].tolist() == [True]
    assert not tables.verdicts.loc[tables.verdicts["mutant"] == f"{mine}::none::.", "flagged"].any()


def test_detectors_that_train_get_the_broken_case(mine, tmp_path):
    settings = campaign.Settings(mine, level="runtime", operators=("runtime-detach",), detectors=("unchanged-after-one-step",))
    tables = campaign.run(settings, tmp_path / "out")
    cut = next(name for name in tables.verdicts["mutant"] if Mutant.parse(name).site == "mine.py:14:tanh:1")
    said = tables.verdicts.set_index("mutant")
    assert (said.loc[cut, "status"], bool(said.loc[cut, "flagged"])) == ("ok", True)
    assert not said.loc[f"{mine}::none::.", "flagged"]


def test_a_level_that_does_not_exist_is_refused():
    with pytest.raises(BadInput, match="Did you mean 'runtime'"):
        campaign.Settings("corpus:mlp", level="runtme")


def test_runtime_mutants_are_listed_shown_and_replayed(mine, tmp_path, capsys):
    settings = campaign.Settings(mine, level="runtime", operators=("runtime-detach",), detectors=("grad-none",))
    campaign.run(settings, tmp_path / "out")
    listed = listing.mutants(mine, ("runtime-detach",), 0, None, "runtime")
    (cut,) = [row["mutant"] for row in listed if Mutant.parse(row["mutant"]).site == "mine.py:14:tanh:1"]
    showing.show(cut, script=False, seed=0, input_shape=None, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["truth"]["parameters"] == {"first.weight": "missing", "first.bias": "missing"}
    assert shown["before"] == ["mine.py:14:tanh:1"]
    assert api.replay(cut, tmp_path / "out").differences == {}
    assert api.replay(f"{mine}::none::.", tmp_path / "out").truth.effect == "equivalent"
    with pytest.raises(BadInput, match="break_case"):
        showing.show(cut, script=True, seed=0, input_shape=None, as_json=False)
