"""Where a training program can be broken: its loops, the groups of its parameters, single parameters, modules, tensors of the batch."""

from __future__ import annotations

import torch.utils._pytree as pytree
from torch import Tensor, nn

from gradfuzz.graph import sites
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators.loops import loops
from gradfuzz.records import Kind, Site


def enumerate_sites(traced: TracedCase, kind: Kind, wanted: tuple[str, ...]) -> list[Site]:
    """Sites of a kind that a training program has. wanted: for loops, the ones that are meant."""
    if kind is Kind.LOOP:
        known = loops(traced)
        return [Site(Kind.LOOP, name, "", ".") for name in wanted if name in known]
    if kind is Kind.GROUP:
        return [Site(Kind.GROUP, name, "", name) for name in groups(traced)]
    if kind is Kind.INPUT:
        return [Site(Kind.INPUT, name, "", ".") for name in items(traced)]
    return sites.enumerate_sites(traced, kind)


def groups(traced: TracedCase) -> tuple[str, ...]:
    """Of what an author would make parameter groups: the first modules in which the names of the live parameters part."""
    paths = [name.split(".") for name in traced.live]
    depth = 0
    while all(len(path) > depth + 1 for path in paths) and len({path[depth] for path in paths}) == 1:
        depth += 1
    return tuple(dict.fromkeys(".".join(path[: depth + 1]) for path in paths))


def several_groups(traced: TracedCase, site: Site) -> bool:
    return len(groups(traced)) > 1


def items(traced: TracedCase) -> dict[str, int]:
    """The tensors of the batch by the names that sites have, with their place among them."""
    return {name.removeprefix("input:"): place for place, name in enumerate(traced.inputs)}


def item(traced: TracedCase, site: Site) -> Tensor:
    """The tensor of the batch that a site means."""
    tensors = [found for found in pytree.tree_leaves(traced.case.batch) if isinstance(found, Tensor)]
    return tensors[items(traced)[site.value]]


def holders(model: nn.Module) -> dict[int, list[str]]:
    """The names of each parameter, by identity: several if it is tied."""
    found: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found.setdefault(id(parameter), []).append(name)
    return found


def tied(traced: TracedCase) -> list[Site]:
    """Pairs of names of one live parameter: the first, and each of the others."""
    several = (names for names in holders(traced.case.model).values() if len(names) > 1 and names[0] in traced.live)
    return [Site(Kind.PAIR, names[0], other, other.rpartition(".")[0] or ".") for names in several for other in names[1:]]


def single_parameter(traced: TracedCase, site: Site) -> bool:
    """A live parameter that is held under one name alone."""
    return site.value in traced.live and [site.value] in holders(traced.case.model).values()


def lone_parameter(traced: TracedCase, site: Site) -> bool:
    """Such a parameter, where it is not all there is."""
    return len(traced.live) > 1 and single_parameter(traced, site)


def layer(traced: TracedCase, site: Site) -> bool:
    """A module below the model's own with live parameters of its own, not with all there are; none of them is held elsewhere too."""
    inside = [name for name in traced.live if name.startswith(f"{site.value}.")]
    return bool(site.value) and 0 < len(inside) < len(traced.live) and all(_lone(traced, name) for name in inside)


def _lone(traced: TracedCase, name: str) -> bool:
    return lone_parameter(traced, Site(Kind.PARAMETER, name))
