"""Architecture -> TracedCase, without torch.export: the program is the one that was written beside the text.

Every check of the baseline gate runs but one: the second eager pass, which looks for generators that nobody seeded and for counters, and no
kind of layer has any. That the written program is the text's is checked on every case: loss and gradients are compared with eager.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor

from gradfuzz.errors import Refused
from gradfuzz.fuzzing.architecture import Architecture
from gradfuzz.graph import trace as baseline
from gradfuzz.graph.execution import run_pass
from gradfuzz.graph.finite_difference import agrees
from gradfuzz.graph.program import Program, tensors_of
from gradfuzz.graph.trace import TracedCase, trace_case
from gradfuzz.records import Thresholds
from gradfuzz.subjects.case import Case

NOISE = "its gradient is rounding noise"
DISAGREES = "the written program is not what the printed module computes"


def gated(architecture: Architecture, case: Case | None = None) -> TracedCase:
    """The traced case of an architecture. Raises ``Refused`` if it does not pass the gate. case: ``architecture.case()``, if it is made."""
    case = case or architecture.case()
    eager = baseline._eager(case, architecture.seed)
    program, limits = architecture.written.program, Thresholds()
    leaves = leaves_of(case, program)
    inputs = tuple(name for name in leaves if name.startswith("input:"))
    traced = TracedCase(architecture.name, case, architecture.seed, limits, program, leaves, inputs)
    baseline._record(traced)
    traced.reference = run_pass(program, leaves, traced.random_states, seed=traced.seed)
    if traced.reference.stage:
        raise Refused(f"the written program raises in {traced.reference.stage}: {traced.reference.error}")
    baseline._same(eager, traced.reference, limits, DISAGREES)
    traced.left_out = baseline._left_out(traced)
    traced.live = tuple(name for name in case.trainable if name not in traced.left_out)
    # a correct case to others must be one on its first batch: nothing that its author wants trained stands still by chance
    still = [name for name, reason in traced.left_out.items() if not reason.startswith(NOISE)]
    if still or not traced.live:
        raise Refused(
            "a parameter that is to be trained gets no gradient on the first batch" if still else "every gradient is rounding noise"
        )
    baseline._forced_fail(traced)
    if agrees(traced.double, traced.live, traced.double_reference.gradients, limits) is False:
        raise Refused("autograd and finite differences disagree on the unmutated case")
    return traced


def leaves_of(case: Case, program: Program) -> dict[str, Tensor]:
    """What a written program starts from, under the names of ``gradfuzz.graph.capture``."""
    inputs, target = case.batch
    used = {name for instruction in program.instructions for name in instruction.reads}
    leaves: dict[str, Tensor] = {f"parameter:{name}": tensor for name, tensor in case.model.named_parameters()}
    leaves |= {f"input:inputs_{place}": tensor for place, tensor in enumerate(tensors_of(inputs))}
    several = isinstance(target, tuple)
    leaves |= {f"input:target_{place}" if several else "input:target": tensor for place, tensor in enumerate(tensors_of(target))}
    return leaves | {f"buffer:{name}": tensor for name, tensor in case.model.named_buffers() if f"buffer:{name}" in used}


REMEMBERED = 8
_recent: OrderedDict[int, TracedCase] = OrderedDict()


def remember(traced: TracedCase) -> TracedCase:
    """So that ``traced_of`` finds it by its case; the last few only, since a campaign draws thousands."""
    _recent[id(traced.case)] = traced
    while len(_recent) > REMEMBERED:
        _recent.popitem(last=False)
    return traced


def traced_of(case: Case | TracedCase) -> TracedCase:
    """The traced form of a drawn case, or of one's own. Raises ``Refused`` as ``gradfuzz.graph.trace.trace_case`` does."""
    if isinstance(case, TracedCase):
        return case
    known = _recent.get(id(case))
    return known if known is not None and known.case is case else remember(trace_case("case", case))
