"""Operators that spoil what the batch holds."""

from __future__ import annotations

from functools import partial

from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import functions as fn
from gradfuzz.operators import operator
from gradfuzz.operators.draft import Draft
from gradfuzz.operators.where import is_used
from gradfuzz.records import Kind, Level, Site

FACTORS = {"divided by 255": 1 / 255, "times 255": 255.0}


def used(traced: TracedCase, site: Site) -> bool:
    return is_used(traced, f"input:{site.value}")


on_input = partial(operator, family="batch", level=Level.DATA, on=(Kind.INPUT,), where=used)


@on_input(
    "rescale-input",
    may="nonfinite dead vanished altered equivalent unstable",
    variants=tuple(FACTORS),
    example="corpus:cnn::rescale-input::inputs_0",
)
def rescale_input(draft: Draft, site: Site, variant: str) -> None:
    """Scale data a second time, or not at all: a factor of 255 too small or too large."""
    draft.after(site, fn.scaled, FACTORS[variant])


@on_input("truncate-input", may="nonfinite dead altered equivalent unstable", example="corpus:mlp::truncate-input::inputs_0")
def truncate_input(draft: Draft, site: Site) -> None:
    """Cut data or targets down to whole numbers."""
    draft.after(site, fn.through_integers)


def has_company(traced: TracedCase, site: Site) -> bool:
    """Several samples, and something else in the batch that belongs to them."""
    shape = traced.leaves[f"input:{site.value}"].shape
    return used(traced, site) and len(traced.inputs) > 1 and len(shape) > 0 and shape[0] > 1


@on_input("misalign-input", may="altered equivalent", where=has_company, example="corpus:mlp::misalign-input::inputs_0")
def misalign_input(draft: Draft, site: Site) -> None:
    """Shift the samples of one tensor of the batch by one against the others."""
    draft.after(site, fn.of_the_next_sample)


@on_input("constant-input", may="nonfinite dead vanished altered equivalent", example="corpus:mlp::constant-input::inputs_0")
def constant_input(draft: Draft, site: Site) -> None:
    """Fill a tensor of the batch with its mean: all samples are alike."""
    draft.after(site, fn.mean_everywhere)


@on_input("standardise-input", may="nonfinite dead altered equivalent", example="corpus:cnn::standardise-input::inputs_0")
def standardise_input(draft: Draft, site: Site) -> None:
    """Standardise a tensor of the batch by its own mean and deviation: each batch by others, and a single number by none."""
    draft.after(site, fn.standardised)
