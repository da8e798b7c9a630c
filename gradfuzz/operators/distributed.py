"""Operators that break the exchange of gradients between ranks. Two ranks are emulated in one process, and the first is looked at."""

from __future__ import annotations

from gradfuzz.operators.case_draft import CaseDraft
from gradfuzz.operators.case_operator import case_operator
from gradfuzz.operators.case_sites import lone_parameter
from gradfuzz.records import Kind, Level, Site


@case_operator(
    "not-reduced", family="distributed", level=Level.STEP, loops=("ranks",), may="altered dead", example="corpus:mlp::not-reduced::ranks",
)  # fmt: skip
def not_reduced(draft: CaseDraft, site: Site) -> None:
    """Call the model past its data-parallel wrapper: each rank steps on gradients of its own."""
    draft.drop("reduce")


@case_operator(
    "reduced-too-early", family="distributed", level=Level.STEP, loops=("ranks",), may="altered dead",
    example="corpus:mlp::reduced-too-early::ranks",
)  # fmt: skip
def reduced_too_early(draft: CaseDraft, site: Site) -> None:
    """Average over the ranks after the first micro-batch, not after the last."""
    draft.rewrite("reduce", draft.code("reduce").replace("number == 1", "number == 0"))


@case_operator(
    "parameter-not-reduced", family="distributed", level=Level.STEP, on=(Kind.PARAMETER,), loops=("ranks",), where=lone_parameter,
    may="altered dead", example="corpus:mlp::parameter-not-reduced::2.weight",
)  # fmt: skip
def parameter_not_reduced(draft: CaseDraft, site: Site) -> None:
    """Replace a parameter after the data-parallel wrapper was built: the reducer does not know the new one."""
    names = [name for name, parameter in draft.traced.case.model.named_parameters() if parameter.requires_grad]
    draft.rewrite("reduce", draft.code("reduce").replace("(held)", f"(held, left_out=({names.index(site.value)},))"))


@case_operator(
    "averaged-over-ranks-again", family="distributed", level=Level.STEP, may="altered",
    example="corpus:mlp::averaged-over-ranks-again::loop",
)  # fmt: skip
def averaged_over_ranks_again(draft: CaseDraft, site: Site) -> None:
    """Divide gradients by the number of ranks, though the loss was a mean over all of them already."""
    draft.insert("scale_gradients(model, 1 / 2)", after="backward", name="average")
