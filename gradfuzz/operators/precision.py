"""Operators that handle reduced precision wrongly: scaling, casts, weights that are too coarse to move."""

from __future__ import annotations

from gradfuzz.operators.case_draft import CaseDraft
from gradfuzz.operators.case_operator import case_operator
from gradfuzz.records import Level, Site


@case_operator(
    "missing-loss-scale", family="precision", level=Level.PRECISION, loops=("half",), may="dead vanished altered",
    example="corpus:mlp::missing-loss-scale::half",
)  # fmt: skip
def missing_loss_scale(draft: CaseDraft, site: Site) -> None:
    """Train in half precision without scaling the loss: what is small becomes zero."""
    draft.rewrite("backward", "loss.backward()")
    draft.drop("unscale")
    draft.changes_function()


@case_operator(
    "loss-scale-too-large", family="precision", level=Level.PRECISION, loops=("half",), may="nonfinite",
    example="corpus:mlp::loss-scale-too-large::half",
)  # fmt: skip
def loss_scale_too_large(draft: CaseDraft, site: Site) -> None:
    """Scale the loss by more than half precision can hold: gradients overflow."""
    draft.rewrite("backward", "(2.0**60 * loss).backward()")
    draft.rewrite("unscale", "scale_gradients(model, 2.0**-60)")
    draft.changes_function()


@case_operator(
    "step-past-the-scaler", family="precision", level=Level.STEP, loops=("scaling",), may="altered",
    example="corpus:mlp::step-past-the-scaler::scaling",
)  # fmt: skip
def step_past_the_scaler(draft: CaseDraft, site: Site) -> None:
    """Call optimizer.step() on gradients that still carry the loss scale, and that nobody clips."""
    with draft.given():
        draft.drop("clip")
    draft.drop("unscale")
    draft.rewrite("step", "optimizer.step()")
    draft.drop("update")


@case_operator(
    "unscale-misses-matrices", family="precision", level=Level.STEP, loops=("loop",), may="altered",
    example="corpus:mlp::unscale-misses-matrices::loop",
)  # fmt: skip
def unscale_misses_matrices(draft: CaseDraft, site: Site) -> None:
    """Divide only the gradients of vectors by the loss scale, not those of matrices."""
    with draft.given():
        draft.rewrite("backward", "(2.0**20 * loss).backward()")
        draft.insert(
            "for p in model.parameters():\n    if p.grad is not None:\n        p.grad.mul_(2.0**-20)", before="step", name="unscale"
        )
    draft.rewrite("unscale", draft.code("unscale").replace("is not None:", "is not None and p.dim() < 2:"))


@case_operator(
    "update-lost-in-bfloat16", family="precision", level=Level.PRECISION, loops=("bfloat16",), may="stuck altered",
    example="corpus:transformer::update-lost-in-bfloat16::bfloat16",
)  # fmt: skip
def update_lost_in_bfloat16(draft: CaseDraft, site: Site) -> None:
    """Keep the weights themselves in bfloat16: an update smaller than half the distance to the next number is lost."""
    draft.insert("round_weights(model, torch.bfloat16)", after="step", name="stored")


@case_operator(
    "cast-cached-without-grad", family="precision", level=Level.PRECISION, loops=("cast",), may="dead raises",
    example="corpus:mlp::cast-cached-without-grad::cast",
)  # fmt: skip
def cast_cached_without_grad(draft: CaseDraft, site: Site) -> None:
    """Use casts of the weights that were cached under no_grad: they have no graph."""
    draft.wrap("cast", "cast", "with torch.no_grad():  # an evaluation fills the cache")


@case_operator(
    "autocast-around-updates", family="precision", level=Level.PRECISION, loops=("updates",), may="altered equivalent",
    example="corpus:mlp::autocast-around-updates::updates",
)  # fmt: skip
def autocast_around_updates(draft: CaseDraft, site: Site) -> None:
    """Put one autocast around several updates: its cache serves the weights from before the first."""
    draft.wrap("split", "step", draft.code("autocast"))
    draft.changes_function()


@case_operator(
    "loss-in-bfloat16", family="precision", level=Level.PRECISION, loops=("autocast",), may="altered equivalent dead invalid raises",
    example="corpus:mlp::loss-in-bfloat16::autocast",
)  # fmt: skip
def loss_in_bfloat16(draft: CaseDraft, site: Site) -> None:
    """Compute the loss on the output that autocast left in bfloat16."""
    draft.rewrite("loss", "loss = loss_fn(output, target)")
    draft.changes_function()
