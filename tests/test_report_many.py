"""Reports over many models: structure read off graphs, fragility with intervals, families, figures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from report_campaigns import HOSTILE, made
from scipy.stats import mannwhitneyu

from gradfuzz.analysis.families import by_group, compare_groups
from gradfuzz.analysis.structure import depth, family, normalisation, skip
from gradfuzz.errors import BadInput
from gradfuzz.report import figures
from gradfuzz.report.lanes import arrange
from gradfuzz.report.many import Many
from gradfuzz.report.manypage import drawings
from gradfuzz.report.reading import find, read
from gradfuzz.report.writing import write


def node(name: str, *reads: str, op: str = "linear", parameters: tuple[int, ...] = (), module: str = "m") -> dict[str, Any]:
    return {"name": name, "op": op, "reads": list(reads), "parameters": list(parameters), "module": module}


CHAIN = [node("a", parameters=(0,)), node("b", "a", op="relu"), node("c", "b", parameters=(1,)), node("loss", "c", module="loss")]
RESIDUAL = [node("a", parameters=(0,)), node("b", "a", parameters=(1,)), node("c", "b"), node("d", "c", "a", op="add"), node("loss", "d")]


@st.composite
def graphs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Every node but the first reads one to three earlier ones; the first holds a parameter."""
    count = draw(st.integers(1, 14))
    nodes = [node("n0", parameters=(0,))]
    for number in range(1, count):
        reads = draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=3, unique=True))
        nodes.append(node(f"n{number}", *(f"n{read}" for read in sorted(reads))))
    return nodes


@given(graphs())
def test_no_two_values_that_are_still_to_be_read_share_a_lane(nodes: list[dict[str, Any]]) -> None:
    found = arrange(nodes)
    last = {name: row for row, one in enumerate(nodes) for name in one["reads"]}
    for row in range(len(nodes)):
        waiting = [found.lanes[before] for before in range(row) if last.get(nodes[before]["name"], -1) > row]
        assert len(waiting) == len(set(waiting))
        assert found.lanes[row] not in waiting
    assert found.width == max(found.lanes) + 1
    assert len(found.edges) == sum(len(one["reads"]) for one in nodes)


def test_a_residual_branch_bulges_out_and_comes_back() -> None:
    assert arrange(RESIDUAL).lanes == (0, 1, 1, 0, 0)
    assert arrange(CHAIN).lanes == (0, 0, 0, 0)


def bypassed(nodes: list[dict[str, Any]]) -> float:
    """By definition: remove each call that follows the first; those without which no path reaches the end are not bypassed."""
    readers: dict[str, list[str]] = {}
    for one in nodes:
        for name in one["reads"]:
            readers.setdefault(name, []).append(one["name"])

    def reached(without: str = "") -> set[str]:
        seen, todo = set(), ["n0"] if without != "n0" else []
        while todo:
            name = todo.pop()
            seen.add(name)
            todo += [user for user in readers.get(name, []) if user not in seen and user != without]
        return seen

    ends = {one["name"] for one in nodes if one["name"] not in readers}
    everything = reached()
    around = [name for name in everything if name not in ends and name != "n0" and reached(name) & ends]
    return len(around) / len(everything)


@given(graphs())
def test_the_skip_structure_is_what_paths_go_round(nodes: list[dict[str, Any]]) -> None:
    used = {name for one in nodes for name in one["reads"]}
    nodes = [*nodes, node("end", *(one["name"] for one in nodes if one["name"] not in used))]  # one end, as a loss is
    assert skip(nodes) == pytest.approx(bypassed(nodes))


def test_depth_and_skip_of_small_graphs_by_hand() -> None:
    assert (depth(CHAIN), skip(CHAIN)) == (4, 0.0)
    assert (depth(RESIDUAL), skip(RESIDUAL)) == (5, 2 / 5)
    assert np.isnan(skip([node("a")]))


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (CHAIN, "plain"),
        (RESIDUAL, "residual"),
        ([node("a"), node("b", "a"), node("c", "a", "b", op="cat")], "branched"),
        ([node("a"), node("s", "a", op="sigmoid"), node("c", "a", "s", op="mul")], "gated"),
        ([node("a"), *(node(f"c{n}", "a", op="cat") for n in range(3))], "dense"),
        ([node(f"h{n}", *([f"h{n - 1}"] if n else []), parameters=(0,)) for n in range(3)], "recurrent"),
        ([node("q"), node("k"), node("s", "q", "k", op="matmul"), node("d", "s", op="div"), node("p", "d", op="softmax")], "attention"),
        ([node("q"), node("a", "q", op="scaled_dot_product_attention")], "attention"),
        ([node("a"), node("x", "a", module="loss"), node("loss", "a", "x", op="mul", module="loss")], "plain"),
    ],
)
def test_the_family_is_read_off_the_graph(nodes: list[dict[str, Any]], expected: str) -> None:
    assert family(nodes) == expected


def test_the_normalisation_is_the_one_used_most() -> None:
    assert normalisation([node("a", op="layer_norm"), node("b", op="batch_norm"), node("c", op="batch_norm")]) == "batch_norm"
    assert normalisation(CHAIN) == "none"


# --- many campaigns


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Many:
    root = tmp_path_factory.mktemp("many")
    made(root / "one", "made:one")
    made(root / "two", f"made:{HOSTILE} $x^2$", module=HOSTILE)
    made(root / "three", "made:three", graph=False, said=[])
    return Many([read(folder) for folder in find([root])])


def test_folders_of_campaigns_are_found_in_the_order_of_their_names(many: Many) -> None:
    assert [campaign.folder.name for campaign in many.campaigns if campaign.folder] == ["one", "three", "two"]


def test_the_fragility_of_a_model_is_counted_as_it_is_defined(many: Many) -> None:
    row = many.fragility.set_index("model").loc["made:one"]
    assert (row.cuts, row.killing) == (6, 5 / 6)
    assert row.weights_lost == pytest.approx((0.8 + 0.8 + 0.2 + 1.0 + 0.0) / 5)
    assert row.weights_lost_low < row.weights_lost < row.weights_lost_high
    assert row.wrong == 1 / 6
    assert row.faults == 6
    assert row.silent == 1.0
    assert row.invisible == pytest.approx(5 / 8)  # zero-weight changes the loss, and stands for three
    assert (row.family, row.depth) == ("residual", 5)
    assert many.fragility.set_index("model").loc["made:three"].family == "unknown"


def test_one_model_in_two_folders_is_refused(many: Many) -> None:
    with pytest.raises(BadInput, match="made:one is in several folders"):
        Many([many.campaigns[0], many.campaigns[0]])


def test_redundancy_counts_what_can_be_told_apart(many: Many) -> None:
    table = many.redundancy.set_index("operator")
    assert table.loc["insert-detach"].tolist() == [18, 18, 18, 1.0]


def test_groups_are_compared_with_the_model_as_the_unit() -> None:
    table = pd.DataFrame({"family": ["a"] * 5 + ["b"] * 5 + ["c"], "killing": [0.9, 0.8, 0.85, 0.95, 0.7, 0.2, 0.3, 0.25, 0.1, 0.4, 0.5]})
    means = by_group(table, "family")
    assert means["family"].tolist() == ["a", "c", "b"]
    assert means.loc[0, "low"] < 0.84 < means.loc[0, "high"]
    assert np.isnan(means.loc[1, "low"])  # one model says nothing about how models differ
    p, pairs = compare_groups(table, "family")
    assert p < 0.05
    (pair,) = pairs.to_dict("records")
    assert (pair["first"], pair["second"], pair["delta"]) == ("a", "b", 1.0)
    assert pair["difference"] == pytest.approx(0.59)
    assert pair["p_value"] == pytest.approx(mannwhitneyu([0.9, 0.8, 0.85, 0.95, 0.7], [0.2, 0.3, 0.25, 0.1, 0.4]).pvalue)
    assert pair["low"] > 0


def test_the_report_over_many_is_written_in_every_format_but_stryker(many: Many, tmp_path: Path) -> None:
    folders = [campaign.folder for campaign in many.campaigns if campaign.folder]
    paths = write(folders, ["html", "md", "latex", "csv", "json"], tmp_path)
    assert all(path.stat().st_size > 0 for path in paths)
    assert "<script>window" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<" not in (tmp_path / "report.md").read_text(encoding="utf-8").replace("&lt;", "")
    with pytest.raises(BadInput, match="give its folder alone"):
        write(folders, ["stryker"], tmp_path)


# --- figures


def test_figures_are_matplotlib_objects_and_the_same_svg_every_time(many: Many) -> None:
    first, second = drawings(many), drawings(many)
    assert set(first) == {"ranking", "scatter", "families", "normalisations", "causes", "cost", "recall", "ranks"}
    for name, (label, figure) in first.items():
        assert isinstance(figure, Figure)
        drawn = figures.svg(figure, label)
        assert drawn == figures.svg(second[name][1], label)
        assert drawn.startswith('<svg role="img" aria-label="')
        assert not re.search(r"<script|<style|<metadata|<!--|\d{4}-\d\d-\d\d", drawn)
        assert not re.search(r'(?:href|src)="(?!#)', drawn)
        assert figures.INK not in drawn


def test_reports_need_no_torch(tmp_path: Path) -> None:
    made(tmp_path / "x" / "one", "made:one")
    made(tmp_path / "x" / "two", "made:two")
    program = (
        "import sys; from pathlib import Path; from gradfuzz.report.writing import FORMATS, write; import gradfuzz\n"
        "root = Path(sys.argv[1]); write([root / 'one'], FORMATS); write([root], FORMATS[:5]); gradfuzz.load(root / 'one')._repr_html_()\n"
        "from gradfuzz.analysis.changes import compare; compare(gradfuzz.load(root / 'one'), gradfuzz.load(root / 'two'))\n"
        "sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "x")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_loads_neither_jinja_nor_matplotlib() -> None:
    program = (
        "import sys; from gradfuzz.cli import main; sys.argv[1:] = ['report', '--help']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "sys.exit(str([name for name in ('jinja2', 'matplotlib', 'pandas', 'torch') if name in sys.modules]).strip('[]'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
