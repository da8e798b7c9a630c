"""Samples with their weights, and campaigns in parts that are put together again."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_campaign import SETTINGS, Counts, assert_same_tables

from gradfuzz import campaign
from gradfuzz.campaign import CONTROL, Settings, plan
from gradfuzz.campaign.merging import merge
from gradfuzz.errors import BadInput
from gradfuzz.graph.trace import TracedCase, trace
from gradfuzz.operators import select
from gradfuzz.store import Tables, load
from gradfuzz.subjects import resolve


@pytest.fixture(scope="module")
def mlp() -> TracedCase:
    return trace(resolve("corpus:mlp"))


@pytest.mark.parametrize("options", [{}, {"sites": 2}, {"limit": 60}, {"share": 0.1}, {"share": 0.3, "sites": 4}, {"share": 1.0}], ids=str)
def test_the_weights_of_each_operator_add_up_to_what_it_could_make(mlp: TracedCase, options: dict[str, Any]) -> None:
    operators = select(("block", "flag", "numeric"))
    possible = Counter(operator.name for operator in operators for _ in operator.mutants(mlp))
    weights: dict[str, float] = {}
    for task in plan(mlp, operators, **options)[1:]:
        weights[task.mutant.operator] = weights.get(task.mutant.operator, 0.0) + task.weight
    assert weights == pytest.approx(dict(possible))


def test_a_sample_is_spread_over_the_depth_of_the_subject() -> None:
    deep, cuts = trace(resolve("corpus:transformer")), select(["insert-detach"])
    everything = [str(task.mutant) for task in plan(deep, cuts)][1:]
    drawn = [str(task.mutant) for task in plan(deep, cuts, share=0.5)][1:]
    assert len(drawn) == pytest.approx(len(everything) / 2, abs=2)
    quarters = Counter(4 * everything.index(text) // len(everything) for text in drawn)
    assert set(quarters) == {0, 1, 2, 3}
    assert max(quarters.values()) - min(quarters.values()) <= 1
    assert drawn != [str(task.mutant) for task in plan(deep, cuts, share=0.5, seed=1)][1:]


def test_a_sampled_campaign_stores_its_weights(tmp_path: Path) -> None:
    found = campaign.run(Settings("corpus:mlp", operators=("insert-detach",), sample=0.5), tmp_path)
    real = found.mutants[found.mutants.operator != CONTROL]
    assert real.weight.sum() == pytest.approx(found.manifest["possible"] - 1)
    assert len(real) < found.manifest["possible"] - 1


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"sample": 0.0}, "a sample is a share above 0 and up to 1, got 0.0"),
        ({"sample": 1.5}, "got 1.5"),
        ({"sample": 0.5, "limit": 3}, "a limit of 3 and a sample of 0.5 are two ways to choose"),
        ({"shard": (0, 4)}, "there is no shard 0 of 4: count from 1"),
        ({"shard": (5, 4)}, "there is no shard 5 of 4"),
    ],
)
def test_a_selection_without_sense_is_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        Settings("corpus:mlp", **wrong)


# --- shards


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return campaign.run(SETTINGS, tmp_path_factory.mktemp("whole") / "campaign")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("shards")
    folders = [root / f"part-{number}" for number in (1, 2, 3)]
    for number, folder in enumerate(folders, 1):
        campaign.run(replace(SETTINGS, shard=(number, 3)), folder)
    return folders


def test_shards_are_disjoint_but_for_the_control_and_together_the_whole(shards: list[Path], whole: Tables) -> None:
    texts = [set(load(folder).mutants.mutant) for folder in shards]
    assert set.union(*texts) == set(whole.mutants.mutant)
    assert texts[0] & texts[1] == texts[1] & texts[2] == {whole.mutants.mutant[0]}
    assert max(map(len, texts)) - min(map(len, texts)) <= 1


def test_merged_shards_are_the_undisturbed_campaign(shards: list[Path], whole: Tables, tmp_path: Path) -> None:
    assert merge(shards[::-1], tmp_path / "whole") == [tmp_path / "whole"]
    merged = load(tmp_path / "whole")
    assert_same_tables(merged, whole)
    assert (merged.manifest["status"], merged.manifest["campaign"]) == ("complete", whole.manifest["campaign"])
    seen = Counts()
    assert_same_tables(campaign.run(SETTINGS, tmp_path / "whole", progress=seen), whole)
    assert seen.said.endswith("is complete: nothing to do")


def test_what_is_missing_after_a_merge_is_finished_by_resuming(shards: list[Path], whole: Tables, tmp_path: Path) -> None:
    merge(shards[:2], tmp_path / "whole")
    part = load(tmp_path / "whole")
    assert part.manifest["status"] == "running"
    seen = Counts()
    assert_same_tables(campaign.run(SETTINGS, tmp_path / "whole", resume=True, progress=seen), whole)
    assert (seen.before, seen.measured) == (len(part.mutants), len(whole.mutants) - len(part.mutants))


def test_overlaps_that_disagree_are_refused_with_the_mutant_and_the_column(shards: list[Path], tmp_path: Path) -> None:
    for table, column, value in (("mutants", "effect", "'dead'"), ("verdicts", "flagged", "1")):
        copy = tmp_path / table
        shutil.copytree(shards[1], copy)
        with closing(sqlite3.connect(copy / "campaign.sqlite")) as connection:
            connection.execute(f"UPDATE {table} SET {column} = {value} WHERE position = 0")
            connection.commit()
        with pytest.raises(BadInput, match=rf"disagree on corpus:mlp::none::\.: {column} is .* and .*Replay it"):
            merge([shards[0], copy], tmp_path / "whole" / table)


def test_overlaps_that_agree_are_stored_once(shards: list[Path], tmp_path: Path) -> None:
    merge([shards[0], shards[0]], tmp_path)
    assert_same_tables(load(tmp_path), load(shards[0]))


def test_folders_of_different_campaigns_are_not_merged(shards: list[Path], tmp_path: Path) -> None:
    campaign.run(Settings("corpus:mlp", operators=("freeze-parameter",)), tmp_path / "other")
    with pytest.raises(BadInput, match=r"are not of one campaign \(operators .* there"):
        merge([shards[0], tmp_path / "other"], tmp_path / "whole")
    with pytest.raises(BadInput, match="is no campaign folder and holds none"):
        merge([tmp_path / "nowhere"], tmp_path / "none")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(BadInput, match="is not empty: choose another --out"):
        merge(shards, tmp_path / "full")


def test_folders_of_several_models_are_merged_model_by_model(shards: list[Path], whole: Tables, tmp_path: Path) -> None:
    cnn = Settings("corpus:cnn", operators=("freeze-parameter",))
    for number in (1, 2):
        shutil.copytree(shards[number - 1], tmp_path / f"node-{number}" / "corpus-mlp")
        campaign.run(replace(cnn, shard=(number, 2)), tmp_path / f"node-{number}" / "corpus-cnn")
    shutil.copytree(shards[2], tmp_path / "node-3" / "corpus-mlp")
    found = merge([tmp_path / f"node-{number}" for number in (1, 2, 3)], tmp_path / "whole")
    assert sorted(folder.name for folder in found) == ["corpus-cnn", "corpus-mlp"]
    assert_same_tables(load(tmp_path / "whole" / "corpus-mlp"), whole)
    assert_same_tables(load(tmp_path / "whole" / "corpus-cnn"), campaign.run(cnn, tmp_path / "alone"))
