"""Operators that start the parameters from values at which they cannot learn."""

from __future__ import annotations

import torch

from gradfuzz.graph.program import Instruction
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import operator
from gradfuzz.operators.draft import Draft
from gradfuzz.operators.where import RECTIFIERS, bias_of, is_used, weight_of
from gradfuzz.records import Kind, Level, Site

ANY = "nonfinite dead vanished altered equivalent unstable"
LINEAR_IN_ONE_VALUE = {
    "avg_pool2d", "bmm", "chunk", "contiguous", "dropout", "flatten", "getitem", "matmul", "mean", "permute", "reshape", "roll", "select",
    "slice", "split", "squeeze", "sum", "transpose", "unbind", "unflatten", "unsqueeze", "view",
}  # fmt: skip


def varied_weight(traced: TracedCase, site: Site) -> bool:
    """A weight with two dimensions or more that is in use and not all one number yet."""
    weight = traced.leaves[f"parameter:{site.value}"].detach()
    return weight.dim() >= 2 and is_used(traced, f"parameter:{site.value}") and not bool((weight == weight.flatten()[0]).all())


@operator(
    "zero-weight", family="init", level=Level.INIT, on=(Kind.PARAMETER,), where=varied_weight, may=ANY,
    example="corpus:mlp::zero-weight::2.weight",
)  # fmt: skip
def zero_weight(draft: Draft, site: Site) -> None:
    """Start a weight from zeros."""
    draft.set_parameter(site.value, torch.zeros_like(draft.parameter(site.value)))


@operator(
    "constant-initialisation", family="init", level=Level.INIT, on=(Kind.PARAMETER,), where=varied_weight, may=ANY,
    example="corpus:mlp::constant-initialisation::2.weight",
)  # fmt: skip
def constant_initialisation(draft: Draft, site: Site) -> None:
    """Start every entry of a weight from the same number, the mean of their sizes: all units stay alike."""
    weight = draft.parameter(site.value)
    draft.set_parameter(site.value, torch.full_like(weight, float(weight.abs().mean())))


@operator(
    "unscaled-initialisation", family="init", level=Level.INIT, on=(Kind.PARAMETER,), where=varied_weight, may=ANY,
    example="corpus:mlp::unscaled-initialisation::2.weight",
)  # fmt: skip
def unscaled_initialisation(draft: Draft, site: Site) -> None:
    """Start a weight without dividing by the root of how many inputs a unit has: what follows saturates."""
    weight = draft.parameter(site.value)
    draft.set_parameter(site.value, weight * (weight.numel() / weight.shape[0]) ** 0.5)


def products_in_a_row(traced: TracedCase) -> list[tuple[Instruction, Instruction]]:
    """Pairs of products by a weight of which the second reads the first through nothing but linear calls."""
    program, found = traced.program, []
    for first in program.instructions:
        todo = [first.name] if weight_of(traced, first) else []
        seen = set(todo)
        while todo:
            for user in (program.by_name[name] for name in program.users.get(todo.pop(), ())):
                if user.name in seen:
                    continue
                seen.add(user.name)
                if weight_of(traced, user):
                    found.append((first, user))
                elif user.op in LINEAR_IN_ONE_VALUE or (user.op in ("mul", "div") and len(user.reads) == 1):
                    todo.append(user.name)
    return found


def factors(traced: TracedCase) -> list[Site]:
    """Pairs of different weights that are factors of one product."""
    pairs: dict[tuple[str, str], Site] = {}
    for first, second in products_in_a_row(traced):
        one, other = weight_of(traced, first), weight_of(traced, second)
        if one and other and one != other:
            pairs.setdefault((one, other), Site(Kind.PAIR, one, other, first.module or ".", first.source))
    return list(pairs.values())


@operator(
    "both-factors-zero", family="init", level=Level.INIT, on=(Kind.PAIR,), find=factors, may=ANY,
    example="corpus:attention::both-factors-zero::project.weight+out.weight",
)  # fmt: skip
def both_factors_zero(draft: Draft, site: Site) -> None:
    """Start two weights in a row from zeros, and a bias between them: the gradient of each has the other as a factor."""
    between = {bias_of(i) for i in draft.traced.program.instructions if weight_of(draft.traced, i) == site.value}
    for name in (site.value, site.user, *sorted(filter(None, between))):
        draft.set_parameter(name, torch.zeros_like(draft.parameter(name)))


def feeds_rectifier(traced: TracedCase, site: Site) -> bool:
    """A bias of layers whose results are read by rectifiers alone."""
    program, leaf = traced.program, f"parameter:{site.value}"
    layers = [program.by_name[name] for name in program.users.get(leaf, ())]
    users = [program.by_name[user] for layer in layers for user in program.users.get(layer.name, ())]
    return bool(users) and all(bias_of(layer) == site.value for layer in layers) and all(user.op in RECTIFIERS for user in users)


@operator(
    "dead-relu-bias", family="init", level=Level.INIT, on=(Kind.PARAMETER,), where=feeds_rectifier, may=ANY,
    example="corpus:cnn::dead-relu-bias::0.1.bias",
)  # fmt: skip
def dead_relu_bias(draft: Draft, site: Site) -> None:
    """Start the bias before a ReLU from -10000: the ReLU never opens."""
    draft.set_parameter(site.value, torch.full_like(draft.parameter(site.value), -1e4))
