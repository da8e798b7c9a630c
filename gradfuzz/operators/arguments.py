"""Operators that call the right thing with a wrong argument: another dimension, flag, bound, index or number."""

from __future__ import annotations

from functools import partial
from itertools import chain

import torch

from gradfuzz.graph.program import Instruction, Ref, refs
from gradfuzz.graph.sites import at, enumerate_sites
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import functions as fn
from gradfuzz.operators import operator
from gradfuzz.operators.draft import Draft, argument
from gradfuzz.operators.where import SOFTMAX, TRANSPOSES, calls, one_tensor, runs, shape_of
from gradfuzz.records import Kind, Site

SMALL = 0.01
"""Largest number that is there to keep a division or logarithm away from zero."""

on_call = partial(operator, family="arguments", on=(Kind.NODE,))


def with_dim(dim: int | list[int], draft: Draft, site: Site) -> None:
    draft.set_argument(site.value, "dim", dim)


def other_dim(traced: TracedCase, site: Site) -> int | list[int] | None:
    """A dimension near the one that a call names, in the same form, over which the program runs too; None if there is none."""
    call = traced.program.by_name[site.value]
    given, first = argument(call, "dim"), next(refs(call.args), None)
    named = given if isinstance(given, list) else [given]
    if len(named) != 1 or type(named[0]) is not int or first is None or call.op in SOFTMAX | {"squeeze"}:
        return None
    shape = shape_of(traced, first.name)
    dim = named[0] % max(len(shape), 1)
    for other in chain(range(dim - 1, -1, -1), range(dim + 1, len(shape))):
        asked = [other] if isinstance(given, list) else other
        if shape[other] > 1 and runs(partial(with_dim, asked))(traced, site):
            return asked
    return None


@on_call("wrong-dim", may="invalid dead altered equivalent", where=lambda traced, site: other_dim(traced, site) is not None,
         example="corpus:bugs/dirac-occlusion-mask-comparison::wrong-dim::mean")  # fmt: skip
def wrong_dim(draft: Draft, site: Site) -> None:
    """Reduce, join or split along another dimension."""
    draft.set_argument(site.value, "dim", other_dim(draft.traced, site))


def keepdim_of(draft: Draft, site: Site) -> None:
    draft.set_argument(site.value, "keepdim", not argument(draft.instruction(site.value), "keepdim"))


def can_keep_dim(traced: TracedCase, site: Site) -> bool:
    """The program runs both with and without the dimension that a reduction leaves."""
    call = traced.program.by_name[site.value]
    return isinstance(argument(call, "keepdim"), bool) and argument(call, "dim") not in (None, []) and runs(keepdim_of)(traced, site)


@on_call(
    "swap-keepdim",
    may="altered equivalent",
    where=can_keep_dim,
    example="corpus:bugs/autonomous-learning-154-mean-squashed-twice::swap-keepdim::loss_sum",
)
def swap_keepdim(draft: Draft, site: Site) -> None:
    """Keep the dimension that a reduction should drop, or drop it, where what follows broadcasts all the same."""
    keepdim_of(draft, site)


def turns(traced: TracedCase, site: Site) -> bool:
    """A transposition that moves elements, not only dimensions of size one."""
    call = traced.program.by_name[site.value]
    if not calls(TRANSPOSES)(traced, site):
        return False
    return not call.target(torch.empty(shape_of(traced, call.args[0].name), device="meta"), *call.args[1:], **call.kwargs).is_contiguous()


@on_call("reshape-for-transpose", may="altered equivalent", where=turns, example="corpus:attention::reshape-for-transpose::transpose")
def reshape_for_transpose(draft: Draft, site: Site) -> None:
    """Bring a value into shape by reshaping where its dimensions must be exchanged: every number ends up elsewhere."""
    draft.call(site.value, fn.reshaped, draft.instruction(site.value).args[0], list(shape_of(draft.traced, site.value)))


def normalises_a_row(traced: TracedCase, site: Site) -> bool:
    """A group norm, or a layer norm over the last dimension of several."""
    call = traced.program.by_name[site.value]
    if call.op == "group_norm":
        return shape_of(traced, call.args[0].name)[1] > 1
    return call.op == "layer_norm" and len(call.args[1]) == 1 and (1, *shape_of(traced, site.value))[-2] > 1


@on_call(
    "normalise-over-wrong-dim",
    may="vanished altered equivalent",
    where=normalises_a_row,
    example="corpus:transformer::normalise-over-wrong-dim::blocks_0_norm1",
)
def normalise_over_wrong_dim(draft: Draft, site: Site) -> None:
    """Take mean and variance of a layer norm over the dimension before the last, or put all channels of a group norm into one group."""
    call = draft.instruction(site.value)
    if call.op == "group_norm":
        groups = argument(call, "num_groups")
        draft.set_argument(site.value, "num_groups", 1 if groups > 1 else shape_of(draft.traced, call.args[0].name)[1])
    else:
        draft.call(
            site.value, fn.normalised_and_scaled, call.args[0], -2,
            argument(call, "weight"), argument(call, "bias"), argument(call, "eps"),
        )  # fmt: skip


def guards(traced: TracedCase) -> list[Site]:
    """Calls that add a small number, clamp to one from below, or take one as eps."""
    found = []
    for call in traced.program.instructions:
        guard = call.args[1] if call.op == "add" and len(call.args) == 2 else argument(call, "min") if "clamp" in call.op else None
        guard = argument(call, "eps") if guard is None else guard
        if isinstance(guard, float) and 0 < guard <= SMALL and not isinstance(argument(call, "max"), float):
            found.append(at(call, Kind.NODE, call.name))
    return found


@on_call("drop-epsilon", may="nonfinite altered equivalent", find=guards, example="corpus:residual-mlp::drop-epsilon::m1_norm")
def drop_epsilon(draft: Draft, site: Site) -> None:
    """Leave out the small number that keeps a division, root or logarithm away from zero."""
    call = draft.instruction(site.value)
    if argument(call, "eps") is not None:
        draft.set_argument(site.value, "eps", 0.0)
    else:
        draft.call(site.value, fn.identity, call.args[0])


def bounds(traced: TracedCase, site: Site) -> bool:
    call = traced.program.by_name[site.value]
    return call.op == "clamp" and not any(isinstance(bound, Ref) for bound in call.args[1:]) and one_tensor(traced, site)


@on_call(
    "swap-clamp-bounds",
    may="nonfinite dead altered equivalent",
    where=bounds,
    example="corpus:bugs/ace-corrector-clamp::swap-clamp-bounds::clamp",
)
def swap_clamp_bounds(draft: Draft, site: Site) -> None:
    """Exchange the lower and the upper bound of a clamp: with both given, everything is the one; with one given, the wrong side is cut."""
    call = draft.instruction(site.value)
    draft.call(site.value, call.target, call.args[0], argument(call, "max"), argument(call, "min"))


def correction_of(draft: Draft, site: Site) -> dict[str, object]:
    """The argument that says what the sum of squares is divided by, with its other value."""
    call = draft.instruction(site.value)
    given = argument(call, "correction")
    return {"correction": 1 if given == 0 else 0} if given is not None else {"unbiased": not argument(call, "unbiased")}


@on_call("swap-variance-correction", may="nonfinite altered equivalent", where=calls({"var", "std"}),
         example="corpus:bugs/evonorm-4-variance-of-one-pixel::swap-variance-correction::m1_var_1")  # fmt: skip
def swap_variance_correction(draft: Draft, site: Site) -> None:
    """Divide by n - 1 for n in a variance, or by n for n - 1: of a single number there is none then."""
    for name, value in correction_of(draft, site).items():
        draft.set_argument(site.value, name, value)


@on_call("padding-row", may="altered equivalent", where=calls({"embedding"}), example="corpus:transformer::padding-row::embedding")
def padding_row(draft: Draft, site: Site) -> None:
    """Take the first row in use of an embedding for padding, so that it never learns, or train the row that is padding."""
    call = draft.instruction(site.value)
    index = draft.traced.leaves.get(call.args[1].name)
    first = 0 if index is None else int(index.min())
    draft.set_argument(site.value, "padding_idx", first if argument(call, "padding_idx") == -1 else -1)


INDEX = {"embedding": 1, "gather": 2}


@on_call("off-by-one-index", may="altered equivalent", where=calls(INDEX), variants=("one more", "one less"),
         example="corpus:transformer::off-by-one-index::embedding")  # fmt: skip
def off_by_one_index(draft: Draft, site: Site, variant: str) -> None:
    """Look up the neighbouring rows of an embedding, or gather the neighbouring elements."""
    call = draft.instruction(site.value)
    dim = argument(call, "dim") if call.op == "gather" else 0
    count = shape_of(draft.traced, call.args[0].name)[dim]
    draft.before(site.value, INDEX[call.op], fn.next_index, 1 if variant == "one more" else -1, count)


FLAGS = {"batch_norm": "training", "instance_norm": "use_input_stats", "dropout": "train", "feature_dropout": "train"}


def trains(call: Instruction) -> bool:
    """Whether a call does something else in evaluation: a dropout that drops, a normalisation that has running statistics."""
    flag = FLAGS.get(call.op, "")
    return argument(call, flag) is True and (bool(argument(call, "p")) if flag == "train" else argument(call, "running_mean") is not None)


def in_training(draft: Draft, site: Site) -> list[str]:
    return [name for name in draft.inside(site) if trains(draft.instruction(name))]


def modules_in_training(traced: TracedCase) -> list[Site]:
    """Modules with such calls; of several with the same calls the outermost."""
    found: dict[tuple[str, ...], Site] = {}
    for site in enumerate_sites(traced, Kind.MODULE):
        found.setdefault(tuple(in_training(Draft(traced), site)), site)
    return [site for names, site in found.items() if names]


@on_call("evaluation-mode", may="altered equivalent", on=(Kind.MODULE,), find=modules_in_training, example="corpus:cnn::evaluation-mode::.")
def evaluation_mode(draft: Draft, site: Site) -> None:
    """Train a module in evaluation mode: BatchNorm with its running statistics, no dropout."""
    for name in in_training(draft, site):
        draft.set_argument(name, FLAGS[draft.instruction(name).op], False)


def drops(traced: TracedCase, site: Site) -> bool:
    call = traced.program.by_name[site.value]
    return call.op in ("dropout", "feature_dropout") and argument(call, "train") is True


@on_call("total-dropout", may="dead altered equivalent", where=drops, example="corpus:cnn::total-dropout::m2")
def total_dropout(draft: Draft, site: Site) -> None:
    """Drop everything: a dropout probability of 1, or the probability to keep given for that to drop."""
    draft.set_argument(site.value, "p", 1.0)
