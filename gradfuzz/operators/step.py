"""Operators that leave out, repeat or reorder what a training step does."""

from __future__ import annotations

from gradfuzz.operators.case_draft import CaseDraft
from gradfuzz.operators.case_operator import case_operator
from gradfuzz.records import Level, Site

CLEARED = ("loop", "accumulation", "clipping")
NOT_CLEARED = (*CLEARED, "epoch")


@case_operator(
    "missing-step", family="step", level=Level.STEP, loops=("loop", "accumulation", "schedule"), may="stuck",
    example="corpus:mlp::missing-step::loop",
)  # fmt: skip
def missing_step(draft: CaseDraft, site: Site) -> None:
    """Never call optimizer.step(); a scheduler, if there is one, goes on."""
    draft.drop("step")


@case_operator(
    "missing-backward", family="step", level=Level.STEP, loops=("loop", "accumulation"), may="dead",
    example="corpus:mlp::missing-backward::loop",
)  # fmt: skip
def missing_backward(draft: CaseDraft, site: Site) -> None:
    """Never call loss.backward()."""
    draft.drop("backward")


@case_operator(
    "missing-zero-grad", family="step", level=Level.STEP, loops=NOT_CLEARED, may="altered", example="corpus:mlp::missing-zero-grad::loop",
)  # fmt: skip
def missing_zero_grad(draft: CaseDraft, site: Site) -> None:
    """Never clear the gradients: every update uses the sum of all so far."""
    draft.drop("zero_grad")


@case_operator(
    "zero-grad-before-step", family="step", level=Level.STEP, loops=CLEARED, may="dead", variants=("to None", "to zero"),
    example="corpus:mlp::zero-grad-before-step::loop",
)  # fmt: skip
def zero_grad_before_step(draft: CaseDraft, site: Site, variant: str) -> None:
    """Clear the gradients between backward and step."""
    draft.move("zero_grad", before="step")
    if variant == "to zero":
        draft.rewrite("zero_grad", "optimizer.zero_grad(set_to_none=False)")


@case_operator(
    "zero-grad-in-accumulation", family="step", level=Level.STEP, loops=("accumulation", "clipped-accumulation"), may="altered",
    example="corpus:mlp::zero-grad-in-accumulation::accumulation",
)  # fmt: skip
def zero_grad_in_accumulation(draft: CaseDraft, site: Site) -> None:
    """Clear the gradients for every micro-batch: only the last one counts."""
    draft.move("zero_grad", before="forward")


@case_operator(
    "step-before-backward", family="step", level=Level.STEP, may="dead", example="corpus:mlp::step-before-backward::loop",
)  # fmt: skip
def step_before_backward(draft: CaseDraft, site: Site) -> None:
    """Let the optimizer step before backward, right after the gradients were cleared."""
    draft.move("step", before="backward")


@case_operator(
    "backward-twice", family="step", level=Level.STEP, may="altered raises", variants=("graph kept", "graph freed"),
    example="corpus:mlp::backward-twice::loop",
)  # fmt: skip
def backward_twice(draft: CaseDraft, site: Site, variant: str) -> None:
    """Call backward twice in a step: every gradient is doubled, or the graph is gone."""
    if variant == "graph kept":
        draft.rewrite("backward", "loss.backward(retain_graph=True)")
    draft.insert("loss.backward()", after="backward", name="again")


@case_operator(
    "accumulation-not-averaged", family="step", level=Level.STEP, loops=("accumulation",), may="altered", variants=("never", "twice"),
    example="corpus:mlp::accumulation-not-averaged::accumulation",
)  # fmt: skip
def accumulation_not_averaged(draft: CaseDraft, site: Site, variant: str) -> None:
    """Divide the loss of a micro-batch by their number not at all, or once more in the gradients."""
    average, _, count = draft.code("forward").rpartition(" / ")
    draft.rewrite("forward", average if variant == "never" else f"{average} / {count} / {count}")


@case_operator(
    "mean-of-unequal-means", family="step", level=Level.STEP, loops=("uneven",), may="altered",
    example="corpus:mlp::mean-of-unequal-means::uneven",
)  # fmt: skip
def mean_of_unequal_means(draft: CaseDraft, site: Site) -> None:
    """Average the mean losses of micro-batches of unequal size: samples of small ones weigh more."""
    draft.rewrite("forward", draft.code("forward").rpartition(" * ")[0] + " / 2")


@case_operator(
    "step-in-accumulation", family="step", level=Level.STEP, loops=("accumulation",), may="altered",
    example="corpus:mlp::step-in-accumulation::accumulation",
)  # fmt: skip
def step_in_accumulation(draft: CaseDraft, site: Site) -> None:
    """Let the optimizer step after every micro-batch, without clearing."""
    draft.indent("step", 1)


@case_operator(
    "accumulating-for-ever", family="step", level=Level.STEP, loops=("accumulation",), may="stuck",
    example="corpus:mlp::accumulating-for-ever::accumulation",
)  # fmt: skip
def accumulating_for_ever(draft: CaseDraft, site: Site) -> None:
    """Let the optimizer step when enough micro-batches were seen, by a condition that never holds."""
    draft.wrap("step", "step", "if 1 // 2:  # accumulated batches per step, rounded down")


@case_operator(
    "clip-in-accumulation", family="step", level=Level.STEP, loops=("clipped-accumulation",), may="altered equivalent",
    example="corpus:mlp::clip-in-accumulation::clipped-accumulation",
)  # fmt: skip
def clip_in_accumulation(draft: CaseDraft, site: Site) -> None:
    """Clip the running sum after every micro-batch, not the whole."""
    draft.indent("clip", 1)


@case_operator(
    "clip-before-unscale", family="step", level=Level.STEP, loops=("scaling",), may="altered vanished",
    example="corpus:mlp::clip-before-unscale::scaling",
)  # fmt: skip
def clip_before_unscale(draft: CaseDraft, site: Site) -> None:
    """Clip gradients that still carry the loss scale."""
    draft.move("clip", before="unscale")


@case_operator(
    "nothing-clipped", family="step", level=Level.STEP, loops=("clipping", "clipped-accumulation"), may="altered",
    variants=("used-up iterator", "before backward", "after step"), example="corpus:mlp::nothing-clipped::clipping",
)  # fmt: skip
def nothing_clipped(draft: CaseDraft, site: Site, variant: str) -> None:
    """Clip in vain: an iterator that the optimizer has used up, gradients that were just cleared, or those that were just used."""
    if variant == "used-up iterator":
        with draft.given():
            draft.after_optimizer("chosen = list(model.parameters())")
            draft.rewrite("clip", draft.code("clip").replace("model.parameters()", "chosen"))
        draft.after_optimizer("chosen = filter(lambda p: p.requires_grad, model.parameters())")
        draft.after_optimizer("torch.optim.SGD(chosen, lr=0.01)")
    else:
        draft.move("clip", after="zero_grad" if variant == "before backward" else "step")


@case_operator(
    "missing-create-graph", family="step", level=Level.STEP, loops=("penalty",), may="altered raises",
    variants=("graph kept", "graph freed"), example="corpus:mlp::missing-create-graph::penalty",
)  # fmt: skip
def missing_create_graph(draft: CaseDraft, site: Site, variant: str) -> None:
    """Penalise gradients that were taken without create_graph: the penalty is a constant."""
    instead = "retain_graph=True, " if variant == "graph kept" else ""
    draft.rewrite("slopes", draft.code("slopes").replace("create_graph=True, ", instead))


@case_operator(
    "other-loss-left-over", family="step", level=Level.STEP, loops=("two-losses",), may="altered dead",
    example="corpus:mlp::other-loss-left-over::two-losses",
)  # fmt: skip
def other_loss_left_over(draft: CaseDraft, site: Site) -> None:
    """Clear the gradients before another player's loss goes through the model, not after: what it leaves is added."""
    draft.move("zero_grad", before="other")


@case_operator(
    "scheduler-before-step", family="step", level=Level.STEP, loops=("schedule",), may="altered",
    example="corpus:mlp::scheduler-before-step::schedule",
)  # fmt: skip
def scheduler_before_step(draft: CaseDraft, site: Site) -> None:
    """Let the scheduler step before the optimizer: the first learning rate is skipped."""
    draft.move("schedule", before="step")


@case_operator(
    "leaf-written-in-place", family="step", level=Level.STEP, may="invalid", example="corpus:mlp::leaf-written-in-place::loop",
)  # fmt: skip
def leaf_written_in_place(draft: CaseDraft, site: Site) -> None:
    """Synchronise weights in place, without detaching them first: autograd refuses."""
    with draft.given():
        draft.insert("for p in model.parameters():\n    p.detach().copy_(p.detach().clone())", before="zero_grad", name="synchronise")
    draft.rewrite("synchronise", draft.code("synchronise").replace("p.detach().copy_", "p.copy_"))
