"""Operators that flip requires_grad, of what people believe to matter and of what does."""

from __future__ import annotations

from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import functions as fn
from gradfuzz.operators import operator
from gradfuzz.operators.draft import Draft
from gradfuzz.operators.where import is_used, one_tensor
from gradfuzz.records import Kind, Level, Site


@operator(
    "flip-requires-grad-parameter", family="flag", level=Level.PARAMETER, on=(Kind.PARAMETER,),
    where=lambda traced, site: is_used(traced, f"parameter:{site.value}"), may="raises dead equivalent",
    example="corpus:mlp::flip-requires-grad-parameter::0.weight",
)  # fmt: skip
def flip_requires_grad_parameter(draft: Draft, site: Site) -> None:
    """Flip requires_grad of a parameter: freeze one that trains, or thaw one that the subject froze."""
    if draft.traced.leaves[f"parameter:{site.value}"].requires_grad:
        draft.freeze([site.value])
    else:
        draft.require_grad(f"parameter:{site.value}")


def used_input(traced: TracedCase, site: Site) -> bool:
    return is_used(traced, f"input:{site.value}")


@operator(
    "flip-requires-grad-input", family="flag", on=(Kind.INPUT,), where=used_input, may="equivalent", variants=("True", "False"),
    example="corpus:mlp::flip-requires-grad-input::inputs_0#1",
)  # fmt: skip
def flip_requires_grad_input(draft: Draft, site: Site, variant: str) -> None:
    """Set requires_grad of the data: a control, widely believed to be a fault."""
    if variant == "True":
        draft.require_grad(f"input:{site.value}")
    else:
        draft.after(site, fn.set_requires_grad, False, preserves=True)


@operator(
    "flip-requires-grad-intermediate", family="flag", on=(Kind.NODE,), where=one_tensor, may="invalid equivalent raises dead altered",
    variants=("True", "False"), example="corpus:mlp::flip-requires-grad-intermediate::m1",
)  # fmt: skip
def flip_requires_grad_intermediate(draft: Draft, site: Site, variant: str) -> None:
    """Set requires_grad of a computed value: True changes nothing, False raises."""
    draft.after(site, fn.set_requires_grad, variant == "True", preserves=True)
