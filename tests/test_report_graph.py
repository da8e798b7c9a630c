"""What a campaign keeps of its program for the report: the graph, and the code of the worst mutants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradfuzz import api, campaign
from gradfuzz.graph.describe import describe
from gradfuzz.graph.flow import Flow
from gradfuzz.report.model import Model
from gradfuzz.report.noticing import noticing
from gradfuzz.report.reading import read
from gradfuzz.report.sites import ranges, spots

SUBJECTS = ("corpus:mlp", "corpus:residual-mlp", "corpus:transformer", "corpus:frozen-backbone", "corpus:siamese")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("graph") / "campaign"
    campaign.run(campaign.Settings("corpus:residual-mlp", operators=("insert-detach", "zero-weight")), out)
    return out


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_graph_is_plain_data_whose_edges_are_the_gradients_ways(subject: str) -> None:
    traced = api.trace(subject)
    found = json.loads(json.dumps(describe(traced)))
    names = [node["name"] for node in found["nodes"]]
    flow = Flow(traced)
    for place, node in enumerate(found["nodes"]):
        assert set(node["reads"]) <= set(names[:place])
        if not node["stop"]:
            assert all(node["name"] in flow.receivers[read] for read in node["reads"])
    assert found["output"] in names
    assert found["quiet"] + len(names) == len(traced.program.instructions)
    edges = {(read, node["name"]) for node in found["nodes"] for read in node["reads"]}
    assert {(name, user) for name, users in flow.receivers.items() if not name.startswith("parameter:") for user in users} <= edges


def test_what_the_graph_says_is_severed_is_what_the_campaign_measured(folder: Path) -> None:
    found = read(folder)
    assert found.graph is not None
    measured = spots(found, noticing(found.tables)).nodes
    names = [parameter["name"] for parameter in found.graph["parameters"]]
    compared = 0
    for node, spot in zip(found.graph["nodes"], measured, strict=True):
        if spot.cut == "lost":
            bits = int(node["severed"], 16)
            assert spot.lost == ranges([place for place in range(len(names)) if bits >> place & 1])
            compared += 1
    assert compared > 3


def test_the_code_of_every_fault_that_a_report_shows_is_kept(folder: Path) -> None:
    worst = Model(read(folder)).worst()
    assert len(worst) > 5
    for fault in worst:
        assert fault["code"]["after"], fault["mutant"]
    cuts = [fault for fault in worst if fault["operator"] == "insert-detach"]
    assert all(any("detach" in line for line in fault["code"]["after"]) for fault in cuts)


def test_numbers_become_ranges() -> None:
    assert ranges([7, 1, 2, 3]) == [[1, 3], [7, 7]]
    assert ranges([]) == []
