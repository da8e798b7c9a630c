"""What kind of architecture a model is, read off its graph (``graph.json`` of a campaign): never off its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Node = Mapping[str, Any]
FAMILIES = ("attention", "recurrent", "dense", "gated", "residual", "branched", "plain")
ATTENTION = ("scaled_dot_product_attention", "multi_head_attention", "_native_multi_head_attention")
RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
PRODUCTS = ("matmul", "bmm", "baddbmm", "einsum")
GATES = ("sigmoid", "hardsigmoid", "softmax", "tanh")
NORMALISATIONS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")
NEAR = 4
"""How many calls may lie between the parts of a pattern: between the product and the softmax of attention, or a gate and its product."""


@dataclass(frozen=True)
class Structure:
    """depth: calls on the longest path to the loss. nodes: calls that carry gradient.

    skip: share of the calls that some path from the first trained call to the loss goes round; 0 in a plain chain, near 1 where almost
    everything lies on a branch. family: the first of ``FAMILIES`` whose mark the graph bears (see ``family``). normalisation: the one most
    used, or "none".
    """

    nodes: int
    depth: int
    skip: float
    family: str
    normalisation: str


def structure(graph: Mapping[str, Any]) -> Structure:
    nodes = graph["nodes"]
    return Structure(len(nodes), depth(nodes), skip(nodes), family(nodes), normalisation(nodes))


def depth(nodes: Sequence[Node]) -> int:
    longest: dict[str, int] = {}
    for node in nodes:
        longest[node["name"]] = 1 + max((longest[name] for name in node["reads"]), default=0)
    return max(longest.values(), default=0)


def skip(nodes: Sequence[Node]) -> float:
    """NaN without a trained call. A call is gone round if an edge among what follows the first trained call leads over it."""
    places = {node["name"]: place for place, node in enumerate(nodes)}
    start = next((place for place, node in enumerate(nodes) if node["parameters"]), None)
    if start is None:
        return float("nan")
    after, furthest, narrow = {start}, start, 0
    for place in range(start, len(nodes)):
        if place > start and not any(places[name] in after for name in nodes[place]["reads"]):
            continue
        after.add(place)
        narrow += furthest <= place  # no edge from before leads beyond it, so every path runs through it
        furthest = max([furthest, *_readers(nodes, places).get(place, ())])
    return 1 - narrow / len(after)


def _readers(nodes: Sequence[Node], places: Mapping[str, int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for place, node in enumerate(nodes):
        for name in node["reads"]:
            found.setdefault(places[name], []).append(place)
    return found


def family(nodes: Sequence[Node]) -> str:
    """attention: a softmax of a product, or the fused call. recurrent: a recurrent call, or a
    parameter that three calls read. dense: a value that three concatenations read.
    gated: a product with what comes of a sigmoid or the like. residual: a sum of two values one of which has another reader too. branched:
    some other value with several readers. plain: none of these. The loss does not count.
    """
    inside = [node for node in nodes if node["module"] != "loss"]
    by_name = {node["name"]: node for node in inside}
    readers = Counter(name for node in inside for name in node["reads"])
    joined = Counter(name for node in inside if node["op"] in ("cat", "concat", "concatenate") for name in node["reads"])
    shared = Counter(number for node in inside for number in node["parameters"])
    softmaxes = (node for node in inside if node["op"] in ("softmax", "_softmax"))
    marks = {
        "attention": any(n["op"] in ATTENTION for n in inside) or any(_before(n, by_name, PRODUCTS) for n in softmaxes),
        "recurrent": any(n["op"] in RECURRENT for n in inside) or any(count >= 3 for count in shared.values()),
        "dense": any(count >= 3 for count in joined.values()),
        "gated": any(len(n["reads"]) > 1 and _before(n, by_name, GATES) for n in inside if n["op"] in ("mul", "mul_")),
        "residual": any(len(n["reads"]) > 1 and any(readers[r] > 1 for r in n["reads"]) for n in inside if n["op"] in ("add", "add_")),
        "branched": any(count > 1 for count in readers.values()),
    }
    return next((name for name, borne in marks.items() if borne), "plain")


def _before(node: Node, by_name: Mapping[str, Node], ops: Iterable[str]) -> bool:
    """Whether one of the calls shortly before this one is one of ``ops``."""
    wave = {name for name in node["reads"] if name in by_name}
    for _ in range(NEAR):
        if any(by_name[name]["op"] in ops for name in wave):
            return True
        wave = {name for reached in wave for name in by_name[reached]["reads"] if name in by_name}
    return False


def normalisation(nodes: Sequence[Node]) -> str:
    counts = Counter(node["op"] for node in nodes if node["op"] in NORMALISATIONS)
    return counts.most_common(1)[0][0] if counts else "none"
