"""Operators that block the way of gradients and leave the values alone: the silent ones."""

from __future__ import annotations

from gradfuzz.graph.sites import enumerate_sites
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import functions as fn
from gradfuzz.operators import operator
from gradfuzz.operators.draft import Draft, is_float_tensor
from gradfuzz.records import Kind, Level, Site

NODE, EDGE, USE, PARAMETER, MODULE, SPAN = Kind.NODE, Kind.EDGE, Kind.USE, Kind.PARAMETER, Kind.MODULE, Kind.SPAN
CUT = "raises dead vanished altered equivalent unstable"


def one_tensor(traced: TracedCase, site: Site) -> bool:
    """The value is one floating tensor."""
    return is_float_tensor(traced.values[site.value])


@operator("insert-detach", family="block", on=(NODE, EDGE), may=CUT, example="corpus:mlp::insert-detach::m0")
def insert_detach(draft: Draft, site: Site) -> None:
    """Detach a value, for all of its users or for one."""
    draft.after(site, fn.detach, preserves=True)


@operator("insert-data", family="block", on=(NODE, EDGE), may=CUT, example="corpus:mlp::insert-data::m0")
def insert_data(draft: Draft, site: Site) -> None:
    """Read a value through .data."""
    draft.after(site, fn.data, preserves=True)


@operator("no-grad-region", family="block", on=(MODULE, SPAN), may=CUT, example="corpus:mlp::no-grad-region::0")
def no_grad_region(draft: Draft, site: Site) -> None:
    """Compute a module, or a few neighbouring calls, under torch.no_grad()."""
    draft.no_grad(draft.inside(site))


@operator(
    "detach-parameter", family="block", on=(USE,), may=CUT, example="corpus:transformer::detach-parameter::embedding.weight->embedding"
)
def detach_parameter(draft: Draft, site: Site) -> None:
    """Detach one use of a parameter."""
    draft.after(site, fn.detach, preserves=True)


def trainable(traced: TracedCase, site: Site) -> bool:
    return site.value in traced.case.trainable


@operator(
    "freeze-parameter", family="block", level=Level.PARAMETER, on=(PARAMETER,), where=trainable, may=CUT,
    example="corpus:mlp::freeze-parameter::0.weight",
)  # fmt: skip
def freeze_parameter(draft: Draft, site: Site) -> None:
    """Freeze one parameter."""
    draft.freeze([site.value])


def members(traced: TracedCase, site: Site) -> list[str]:
    return [name for name in traced.case.trainable if name.startswith(f"{site.value}.")]


@operator(
    "freeze-module", family="block", level=Level.PARAMETER, on=(MODULE,), where=lambda traced, site: len(members(traced, site)) > 1,
    may=CUT, example="corpus:mlp::freeze-module::0",
)  # fmt: skip
def freeze_module(draft: Draft, site: Site) -> None:
    """Freeze all parameters of a module."""
    draft.freeze(members(draft.traced, site))


@operator("rebuild-tensor", family="block", on=(NODE,), where=one_tensor, may=CUT, variants=("from a list", "from a tensor"),
          example="corpus:mlp::rebuild-tensor::m0")  # fmt: skip
def rebuild_tensor(draft: Draft, site: Site, variant: str) -> None:
    """Make a new tensor from the values of another, with torch.tensor."""
    draft.after(site, fn.rebuild if variant == "from a list" else fn.rebuild_with_warning, preserves=True)


@operator("numpy-round-trip", family="block", on=(NODE,), where=one_tensor, may=CUT, example="corpus:mlp::numpy-round-trip::m0")
def numpy_round_trip(draft: Draft, site: Site) -> None:
    """Send a value through NumPy and back."""
    draft.after(site, fn.numpy_round_trip, preserves=True)


@operator(
    "detach-then-requires-grad", family="block", on=(NODE,), where=one_tensor, may=CUT, example="corpus:mlp::detach-then-requires-grad::m0"
)
def detach_then_requires_grad(draft: Draft, site: Site) -> None:
    """Detach a value and switch requires_grad on again: backward no longer raises, and still nothing arrives."""
    draft.after(site, fn.detach_then_requires_grad, preserves=True)


@operator("fresh-parameter", family="block", on=(USE,), may=CUT, example="corpus:mlp::fresh-parameter::0.weight->m0")
def fresh_parameter(draft: Draft, site: Site) -> None:
    """Wrap a weight in a new nn.Parameter inside forward: the registered one gets nothing."""
    draft.after(site, fn.rewrap_as_parameter, preserves=True)


@operator("zero-hook", family="block", on=(NODE,), where=one_tensor, may=CUT, example="corpus:mlp::zero-hook::m0")
def zero_hook(draft: Draft, site: Site) -> None:
    """Register a backward hook that returns zeros."""
    draft.after(site, fn.zero_hook, preserves=True)


@operator("wrong-custom-backward", family="block", on=(NODE,), where=one_tensor, may=CUT, variants=("zeros", "none", "doubled", "negated"),
          example="corpus:mlp::wrong-custom-backward::m0#2")  # fmt: skip
def wrong_custom_backward(draft: Draft, site: Site, variant: str) -> None:
    """Pass a value through a custom autograd.Function whose backward is wrong."""
    draft.after(site, fn.wrong_backward, variant, preserves=True)


def fed_without_grad(traced: TracedCase) -> list[Site]:
    """Modules that are one block of instructions, have parameters, and whose inputs do not require grad."""
    found, draft = [], Draft(traced)
    for site in enumerate_sites(traced, MODULE):
        names = draft.inside(site)
        chosen, program = set(names), traced.program
        reads = {read for name in names for read in program.by_name[name].reads} - chosen
        span = program.instructions[program.position[names[0]] : program.position[names[-1]] + 1]
        interrupted = any(chosen & set(i.reads) for i in span if i.name not in chosen)
        fed = [read for read in reads if not read.startswith(("parameter:", "buffer:", "constant:"))]
        if members(traced, site) and fed and not interrupted and not any(traced.values[read].requires_grad for read in fed):
            found.append(site)
    return found


@operator(
    "checkpoint-without-input-grad", family="block", on=(MODULE,), find=fed_without_grad, may=CUT,
    example="corpus:mlp::checkpoint-without-input-grad::0",
)  # fmt: skip
def checkpoint_without_input_grad(draft: Draft, site: Site) -> None:
    """Run a module whose inputs need no gradient through reentrant checkpointing: its parameters get none either."""
    draft.checkpoint(draft.inside(site))
