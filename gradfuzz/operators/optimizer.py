"""Operators after which an optimizer does not update what is trained. The gradients are all right."""

from __future__ import annotations

from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators.case_draft import CaseDraft
from gradfuzz.operators.case_functions import owned_by_parents
from gradfuzz.operators.case_operator import case_operator
from gradfuzz.operators.case_sites import several_groups, single_parameter
from gradfuzz.records import Kind, Level, Site


@case_operator(
    "parameter-group-missing", family="optimizer", own=True, level=Level.STEP, on=(Kind.GROUP,), where=several_groups, may="stuck",
    example="corpus:mlp::parameter-group-missing::4",
)  # fmt: skip
def parameter_group_missing(draft: CaseDraft, site: Site) -> None:
    """Build the optimizer without the parameters of one module."""
    draft.after_optimizer(f'leave_out(optimizer, below(named, "{site.value}"))')


@case_operator(
    "learning-rate-zero", family="optimizer", own=True, level=Level.STEP, on=(Kind.GROUP,), may="stuck",
    example="corpus:mlp::learning-rate-zero::4",
)  # fmt: skip
def learning_rate_zero(draft: CaseDraft, site: Site) -> None:
    """Train the parameters of one module with a learning rate of 0."""
    draft.after_optimizer(f'set_learning_rate(optimizer, below(named, "{site.value}"), 0.0)')


@case_operator(
    "integer-learning-rate", family="optimizer", own=True, level=Level.STEP, may="stuck",
    example="corpus:mlp::integer-learning-rate::loop",
)  # fmt: skip
def integer_learning_rate(draft: CaseDraft, site: Site) -> None:
    """Anneal the learning rate by integer division: below 4 it becomes 0."""
    line = 'for group in optimizer.param_groups:\n    group["lr"] /= 4'
    draft.alternative("after", line, line.replace("/=", "//="))


def owned_above_layers(traced: TracedCase, site: Site) -> bool:
    """A module that has children also has a live parameter itself, and there are others."""
    above = {id(parameter) for parameter in owned_by_parents(traced.case.model)}
    live = [parameter for name, parameter in traced.case.model.named_parameters() if name in traced.live]
    return 0 < sum(id(parameter) in above for parameter in live) < len(live)


@case_operator(
    "optimizer-of-leaf-modules", family="optimizer", own=True, level=Level.STEP, where=owned_above_layers, may="stuck",
    example="corpus:transformer::optimizer-of-leaf-modules::loop",
)  # fmt: skip
def optimizer_of_leaf_modules(draft: CaseDraft, site: Site) -> None:
    """Collect the parameters of modules without children, and miss those that a parent holds itself."""
    draft.after_optimizer("leave_out(optimizer, owned_by_parents(model))")


@case_operator(
    "parameter-replaced-after-optimizer", family="optimizer", own=True, level=Level.STEP, on=(Kind.PARAMETER,), where=single_parameter,
    may="stuck", example="corpus:mlp::parameter-replaced-after-optimizer::2.weight",
)  # fmt: skip
def parameter_replaced_after_optimizer(draft: CaseDraft, site: Site) -> None:
    """Put a new parameter in the place of one that the optimizer already holds, as a late .to() or initialisation does."""
    draft.after_optimizer(f'replace_parameter(model, "{site.value}")')


@case_operator(
    "optimizer-of-stale-copy", family="optimizer", own=True, level=Level.STEP, may="stuck",
    example="corpus:mlp::optimizer-of-stale-copy::loop",
)  # fmt: skip
def optimizer_of_stale_copy(draft: CaseDraft, site: Site) -> None:
    """Train a copy of the model that the optimizer was built for."""
    draft.after_optimizer("model = copied(model)")
