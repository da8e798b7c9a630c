"""Operators after which a parameter is not what its model, or its optimizer, believes it to be."""

from __future__ import annotations

from gradfuzz.operators.case_draft import CaseDraft
from gradfuzz.operators.case_operator import case_operator
from gradfuzz.operators.case_sites import layer, lone_parameter, tied
from gradfuzz.records import Kind, Level, Site


@case_operator(
    "layer-in-plain-list", family="registration", own=True, level=Level.PARAMETER, on=(Kind.MODULE,), where=layer, may="stuck invalid",
    example="corpus:mlp::layer-in-plain-list::2",
)  # fmt: skip
def layer_in_plain_list(draft: CaseDraft, site: Site) -> None:
    """Keep a layer in a plain Python list: it is used, and nobody who asks for parameters finds it."""
    draft.before_optimizer(f'keep_in_plain_list(model, "{site.value}")')


@case_operator(
    "unregistered-parameter", family="registration", own=True, level=Level.PARAMETER, on=(Kind.PARAMETER,), where=lone_parameter,
    may="stuck", example="corpus:mlp::unregistered-parameter::2.weight",
)  # fmt: skip
def unregistered_parameter(draft: CaseDraft, site: Site) -> None:
    """Keep a parameter as a plain attribute: it gets a gradient, and no optimizer gets it."""
    draft.before_optimizer(f'keep_unregistered(model, "{site.value}")')


@case_operator(
    "buffer-instead-of-parameter", family="registration", own=True, level=Level.PARAMETER, on=(Kind.PARAMETER,), where=lone_parameter,
    may="dead altered", example="corpus:mlp::buffer-instead-of-parameter::2.weight",
)  # fmt: skip
def buffer_instead_of_parameter(draft: CaseDraft, site: Site) -> None:
    """Register a buffer where a parameter is meant."""
    draft.before_optimizer(f'make_buffer(model, "{site.value}")')


@case_operator(
    "moved-parameter", family="registration", own=True, level=Level.PARAMETER, on=(Kind.PARAMETER,), where=lone_parameter, may="dead",
    variants=("plain attribute", "registered"), example="corpus:mlp::moved-parameter::2.weight",
)  # fmt: skip
def moved_parameter(draft: CaseDraft, site: Site, variant: str) -> None:
    """Keep what .to() returns in the place of a parameter: it is no leaf, so its gradient goes past it."""
    function = "move_in_constructor" if variant == "plain attribute" else "register_moved"
    draft.before_optimizer(f'{function}(model, "{site.value}")')


@case_operator(
    "checkpoint-loaded-without-leaves", family="registration", own=True, level=Level.PARAMETER, may="dead",
    example="corpus:mlp::checkpoint-loaded-without-leaves::loop",
)  # fmt: skip
def checkpoint_loaded_without_leaves(draft: CaseDraft, site: Site) -> None:
    """Load a checkpoint by registering what .to() returns: no parameter is a leaf any more."""
    draft.before_optimizer("register_all_moved(model)")


@case_operator(
    "parameter-made-in-forward", family="registration", own=True, level=Level.PARAMETER, on=(Kind.PARAMETER,), where=lone_parameter,
    may="stuck", variants=("at every call", "at the first call"), example="corpus:mlp::parameter-made-in-forward::2.weight",
)  # fmt: skip
def parameter_made_in_forward(draft: CaseDraft, site: Site, variant: str) -> None:
    """Make a parameter in forward, after the optimizer was built."""
    draft.before_optimizer(f'create_in_forward(model, "{site.value}", every_time={variant == "at every call"})')


@case_operator(
    "weight-tie-broken", family="registration", own=True, level=Level.PARAMETER, on=(Kind.PAIR,), find=tied,
    may="altered equivalent dead vanished", variants=("first name", "second name"),
    example="corpus:transformer::weight-tie-broken::embedding.weight+out.weight",
)  # fmt: skip
def weight_tie_broken(draft: CaseDraft, site: Site, variant: str) -> None:
    """Give one of two tied parameters a tensor of its own, with the same values."""
    draft.before_optimizer(f'replace_parameter(model, "{site.value if variant == "first name" else site.user}")')
    draft.changes_function()  # of the named parameters: each has its own part of the gradient now
