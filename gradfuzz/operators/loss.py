"""Operators that break the loss: its terms, its reduction, what is compared with what."""

from __future__ import annotations

from functools import partial

from gradfuzz.graph.program import Instruction, Ref
from gradfuzz.graph.sites import at, carries_gradient
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import functions as fn
from gradfuzz.operators import operator
from gradfuzz.operators.draft import Draft, argument, is_float_tensor
from gradfuzz.operators.path import alike
from gradfuzz.operators.where import CLASS_LOSSES, LOSSES, REGRESSION_LOSSES, calls, runs, shape_of
from gradfuzz.records import Kind, Level, Site

on_loss = partial(operator, family="loss", level=Level.LOSS, on=(Kind.NODE,))


def joins(call: Instruction) -> bool:
    """Adds, subtracts or stacks values, each of them once."""
    given = call.args[0] if call.op == "stack" else call.args if call.op in ("add", "sub") and not call.kwargs else ()
    return len(given) > 1 and len(set(given)) == len(given) and all(isinstance(value, Ref) for value in given)


def terms(traced: TracedCase) -> list[Site]:
    """Each single number that is joined with others into the loss, on its way there."""
    return [
        at(joined, Kind.EDGE, read, joined.name)
        for joined in traced.program.instructions
        for read in joined.reads
        if joins(joined) and read in traced.program.by_name
        if carries_gradient(traced, read) and is_float_tensor(traced.values[read]) and not shape_of(traced, read)
    ]


on_term = partial(operator, family="loss", level=Level.LOSS, on=(Kind.EDGE,), find=terms)


@on_term(
    "cut-loss-term",
    may="dead altered equivalent",
    variants=("detach()", "item()"),
    example="corpus:vae::cut-loss-term::loss_mse_loss->loss_add_1#1",
)
def cut_loss_term(draft: Draft, site: Site, variant: str) -> None:
    """Add a term of the loss detached, or as a plain number: the loss shows it, no gradient has it."""
    draft.after(site, fn.detach if variant == "detach()" else fn.item_round_trip, preserves=True)


@on_term("drop-loss-term", may="dead altered equivalent", example="corpus:vae::drop-loss-term::loss_mse_loss->loss_add_1")
def drop_loss_term(draft: Draft, site: Site) -> None:
    """Forget a term of the loss."""
    call = draft.instruction(site.user)
    if call.op == "stack":
        draft.after(site, fn.zeros_like)
    else:
        (left,) = [value for value in call.args if value != Ref(site.value)]
        draft.call(site.user, fn.negated if call.op == "sub" and call.args[0] == Ref(site.value) else fn.identity, left)


FACTORS = {"counted twice": 2.0, "wrong sign": -1.0, "a thousandfold": 1e3}


def terms_and_loss(traced: TracedCase) -> list[Site]:
    return [*terms(traced), at(traced.program.by_name[traced.program.output], Kind.NODE, traced.program.output)]


@on_term("reweight-loss", may="altered equivalent", on=(Kind.EDGE, Kind.NODE), find=terms_and_loss, variants=tuple(FACTORS),
         example="corpus:mlp::reweight-loss::loss_cross_entropy_loss#1")  # fmt: skip
def reweight_loss(draft: Draft, site: Site, variant: str) -> None:
    """Count a term of the loss, or all of it, twice, with the wrong sign, or a thousandfold."""
    draft.after(site, fn.scaled, FACTORS[variant])


def compares_classes(traced: TracedCase, site: Site) -> bool:
    """A loss of numbers of classes, not of probabilities."""
    instruction = traced.program.by_name[site.value]
    return calls(CLASS_LOSSES)(traced, site) and not is_float_tensor(traced.values[instruction.args[1].name])


def has_a_metric(traced: TracedCase, site: Site) -> bool:
    return calls(REGRESSION_LOSSES)(traced, site) or compares_classes(traced, site)


@on_loss(
    "metric-as-loss", may="raises dead altered equivalent", where=has_a_metric, example="corpus:quantiser::metric-as-loss::loss_mse_loss"
)
def metric_as_loss(draft: Draft, site: Site) -> None:
    """Minimise the share of wrong classes, or the error of the rounded output, in the place of a loss."""
    output, target, *_ = draft.instruction(site.value).args
    draft.call(site.value, fn.error_rate if compares_classes(draft.traced, site) else fn.rounded_error, output, target)


SWAPPED = {1: 2, 2: 1}  # aten's numbers for mean and sum


def reduces(traced: TracedCase, site: Site) -> bool:
    """A loss that is a mean or a sum, or the mean or sum of several numbers."""
    call = traced.program.by_name[site.value]
    if call.op in LOSSES:
        return argument(call, "reduction") in SWAPPED
    return calls({"mean", "sum"})(traced, site) and shape_of(traced, call.args[0].name) != shape_of(traced, site.value)


@on_loss("swap-reduction", may="altered equivalent", where=reduces, example="corpus:mlp::swap-reduction::loss_cross_entropy_loss")
def swap_reduction(draft: Draft, site: Site) -> None:
    """Take the sum for the mean, or the mean for the sum."""
    call = draft.instruction(site.value)
    if call.op in LOSSES:
        draft.set_argument(site.value, "reduction", SWAPPED[argument(call, "reduction")])
    else:
        over = [argument(call, "dim"), argument(call, "keepdim")] if argument(call, "dim") else []
        draft.call(site.value, fn.summed if call.op == "mean" else fn.averaged, call.args[0], *over)


@on_loss("squash-before-loss", may="dead altered equivalent unstable", where=calls(LOSSES), variants=("sigmoid", "tanh", "relu"),
         example="corpus:mlp::squash-before-loss::loss_cross_entropy_loss")  # fmt: skip
def squash_before_loss(draft: Draft, site: Site, variant: str) -> None:
    """Pass what goes into the loss through a sigmoid, tanh or ReLU first: one too many for cross-entropy, a wrong range for others."""
    draft.before(site.value, 0, {"sigmoid": fn.sigmoid, "tanh": fn.tanh, "relu": fn.relu}[variant])


@on_loss("wrong-labels", may="nonfinite altered equivalent", where=compares_classes,
         variants=("one more", "one less", "of the next sample", "all alike", "all ignored"),
         example="corpus:mlp::wrong-labels::loss_cross_entropy_loss")  # fmt: skip
def wrong_labels(draft: Draft, site: Site, variant: str) -> None:
    """Give the loss numbers of other classes: off by one, of another sample, always the first, or none that counts."""
    call = draft.instruction(site.value)
    shape, ignored = shape_of(draft.traced, call.args[0].name), argument(call, "ignore_index")
    if variant.startswith("one"):
        draft.before(site.value, 1, fn.next_class, 1 if variant == "one more" else -1, shape[1 if len(shape) > 1 else 0], ignored)
    elif variant == "of the next sample":
        draft.before(site.value, 1, fn.of_the_next_sample)
    else:
        draft.before(site.value, 1, fn.filled_with, 0 if variant == "all alike" else ignored)


def broadcast_of(draft: Draft, site: Site) -> None:
    """Give one of two values of equal shape one dimension more, or one less if the last has size one."""
    column = shape_of(draft.traced, site.value)[1:] == (1,)
    draft.after(site, fn.squeezed if column else fn.unsqueezed, 1)


def compares_alike(traced: TracedCase, call: Instruction) -> bool:
    """Whether a call takes two different values of equal shape, several rows each, element by element."""
    given = call.args[0] if call.op == "broadcast_tensors" else call.args if call.op in ("sub", "mul", "add", "div") else ()
    if len(given) != 2 or not all(isinstance(value, Ref) for value in given) or given[0] == given[1]:
        return False
    return alike(traced, given[0].name, given[1].name) and (*shape_of(traced, given[0].name), 1)[0] > 1


def comparisons(traced: TracedCase) -> list[Site]:
    """What meets something of its own shape, several rows each, where the loss stays one number if the two broadcast."""
    found = [
        at(call, Kind.EDGE, call.reads[0], call.name)
        for call in traced.program.instructions
        if compares_alike(traced, call) and call.reads[0] in traced.program.by_name and carries_gradient(traced, call.reads[0])
    ]
    fits = runs(broadcast_of)
    return [site for site in found if fits(traced, site)]


@on_loss(
    "broadcast-in-loss",
    may="altered equivalent",
    on=(Kind.EDGE,),
    find=comparisons,
    example="corpus:quantiser::broadcast-in-loss::decoder_2->loss_broadcast_tensors",
)
def broadcast_in_loss(draft: Draft, site: Site) -> None:
    """Compare every sample with every other: one dimension too many or too few lets output and target broadcast."""
    broadcast_of(draft, site)
