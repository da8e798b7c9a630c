"""Operators that prepare the data wrongly, in ways that depend on all samples and on the preparation itself."""

from __future__ import annotations

from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators.case_draft import CaseDraft
from gradfuzz.operators.case_operator import case_operator
from gradfuzz.operators.case_sites import item, items
from gradfuzz.operators.loops import rows
from gradfuzz.records import Kind, Level, Site


def rows_of_features(traced: TracedCase, site: Site) -> bool:
    """A floating input of the model: several samples of several features."""
    found = item(traced, site)
    return found.is_floating_point() and found.dim() >= 2 and min(found.shape[:2]) > 1 and site.value.startswith("inputs")


def floating_target(traced: TracedCase, site: Site) -> bool:
    return item(traced, site).is_floating_point() and site.value.startswith("target") and item(traced, site).dim() > 0


def same_for_all(traced: TracedCase, site: Site) -> bool:
    return rows_of_features(traced, site) and rows(traced) > 1


def prepared(draft: CaseDraft, site: Site, call: str) -> str:
    """The line that passes one tensor of the batch through a function."""
    return f"batch = change_item(batch, {items(draft.traced)[site.value]}, {call})"


@case_operator(
    "constant-feature-normalised", family="data", own=True, level=Level.DATA, on=(Kind.INPUT,), where=rows_of_features,
    may="nonfinite invalid", example="corpus:mlp::constant-feature-normalised::inputs_0",
)  # fmt: skip
def constant_feature_normalised(draft: CaseDraft, site: Site) -> None:
    """Bring every feature to the range from 0 to 1, without an epsilon for one that never varies."""
    with draft.given():
        draft.data(prepared(draft, site, "with_constant_feature"))
    draft.alternative("data", prepared(draft, site, "to_unit_range, 1e-8"), prepared(draft, site, "to_unit_range, 0.0"))
    draft.changes_function()


@case_operator(
    "standardised-over-one-sample", family="data", own=True, level=Level.DATA, on=(Kind.INPUT,), where=floating_target,
    may="nonfinite invalid", example="corpus:residual-mlp::standardised-over-one-sample::target",
)  # fmt: skip
def standardised_over_one_sample(draft: CaseDraft, site: Site) -> None:
    """Standardise targets over a batch of one sample: its spread is 0 / 0."""
    right = prepared(draft, site, "standardised, False")
    draft.alternative("data", right, right.replace("False", "True"))
    draft.changes_function()


@case_operator(
    "target-of-other-dtype", family="data", own=True, level=Level.DATA, on=(Kind.INPUT,), where=floating_target, may="altered invalid",
    variants=("half", "long"), example="corpus:residual-mlp::target-of-other-dtype::target#1",
)  # fmt: skip
def target_of_other_dtype(draft: CaseDraft, site: Site, variant: str) -> None:
    """Load targets with another dtype: rounded, or cut down to integers."""
    draft.data(prepared(draft, site, f"torch.Tensor.{variant}"))
    draft.changes_function()


@case_operator(
    "inputs-normalised-to-nothing", family="data", own=True, level=Level.DATA, on=(Kind.INPUT,), where=same_for_all,
    may="dead altered vanished invalid", example="corpus:mlp::inputs-normalised-to-nothing::inputs_0",
)  # fmt: skip
def inputs_normalised_to_nothing(draft: CaseDraft, site: Site) -> None:
    """Subtract from every sample its own values instead of the mean over samples: all that is left is 0."""
    right = prepared(draft, site, "centred, False")
    draft.alternative("data", right, right.replace("False", "True"))
    draft.changes_function()
