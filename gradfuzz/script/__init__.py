"""A mutant as a standalone script: torch and the model's own library, without gradfuzz.

It is there to be read and sent to others, and it is a third oracle: nothing that measured the mutant runs in it. The right version of the
step is checked against the user's own model, the broken one differs from it in the lines that say so, and the comparison is written out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import indent

import torch

from gradfuzz.engine.runtime.road import RuntimeMutation
from gradfuzz.errors import BadInput
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import Operator
from gradfuzz.operators.case_draft import CaseMutation
from gradfuzz.operators.draft import Mutation
from gradfuzz.records import Kind, Mutant, Site, State, Truth
from gradfuzz.script import sections, training
from gradfuzz.script.expressions import quoted
from gradfuzz.script.step import BREAK, Step, place_of, table
from gradfuzz.subjects import Subject

NAMED = 8
"""Parameters of one state that the docstring names before it counts the others."""


def write(traced: TracedCase, subject: Subject, operator: Operator, mutant: Mutant, site: Site, truth: Truth | None = None) -> str:
    """The text of a script that makes the subject and the break, and prints one line of JSON last.

    The line has ``loss``, ``effect`` and the names of the live parameters in each state, as in ``Truth`` (``unstable``, which takes further
    batches, is ``dead`` or ``vanished`` there). ``truth``: what was measured, for the docstring.
    Raises ``BadInput`` where the subject's provider gives no source, or the operator does what has none.
    """
    if subject.provider.code is None:
        raise BadInput(f"no script for {subject.name}: its provider '{subject.provider.name}' does not say how to build it in plain code")
    mutation = operator.mutate(traced, site, mutant.variant)
    if isinstance(mutation, CaseMutation):
        return training.write(traced, subject, mutation, mutant, _docstring(operator, mutant, site, truth))
    building = subject.provider.code(subject.target, traced.seed, subject.input_shape)
    step = Step(traced, mutation)
    body = step.lines()
    if taken := set(step.source.helpers) & sections.GLOBALS:
        raise BadInput(f"no script for {mutant}: its function '{min(taken)}' has a name that the script needs, rename it")
    device = next(iter(traced.leaves.values())).device
    parts = [
        f"{_docstring(operator, mutant, site, truth)}\n\n{_imports(step)}",
        f"aten = torch.ops.aten\nSEED = {traced.seed}\nLIVE = [  # parameters with a live gradient\n{_listed(traced.live)}]",
        f"# ---- the training case ----\n\ntorch.manual_seed(SEED)\n{building.strip()}",
        *([sections.DEVICE.format(device=quoted(str(device)))] if device.type != "cpu" else []),
        "\n".join([sections.START, *(["c = {}".format("\n".join(table(step.constants())))] if step.constants() else [])]),
        sections.EAGER.format(
            reseed=_reseed(building), call="model(**inputs)" if isinstance(traced.case.batch[0], Mapping) else "model(*inputs)"
        ),
        *_helpers(step, device),
        f"# ---- the step, call by call, right and broken ----\n\ndef training_step(broken, p, b):\n{indent(chr(10).join(body), '    ')}",
        sections.PASS.format(edits=_edits(step), reseed=_reseed(building)),
        sections.COMPARISON.format(
            same=traced.thresholds.same,
            vanished=traced.thresholds.vanished,
            states=", ".join(f'"{s}"' for s in State if s is not State.SAME),
        ),
    ]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def excerpt(traced: TracedCase, mutation: Mutation) -> tuple[list[str], list[str]]:
    """The lines of the step that a mutation changes, before and after."""
    if isinstance(mutation, CaseMutation):
        return training.excerpt(mutation)
    if isinstance(mutation, RuntimeMutation):
        return mutation.excerpt()
    step, old = Step(traced, mutation), traced.program.by_name
    edited = [instruction for _, instruction in mutation.edits]
    before = [step.line(old[instruction.name]) for instruction in edited if instruction.name in old]
    after = [*step.edits_of_leaves(), *(step.line(instruction) for instruction in edited), *step.checkpoint_lines()]
    return before, [line.removesuffix(BREAK) for line in after]


def _docstring(operator: Operator, mutant: Mutant, site: Site, truth: Truth | None) -> str:
    around = place_of(site.module) if site.module and site.kind is not Kind.MODULE else ""
    place = ", ".join(part for part in (f"{site.kind} {site.text}", around, site.source) if part)
    form = f" ({operator.variants[mutant.variant]})" if operator.variants[mutant.variant] else ""
    about = [str(mutant), "", f"{operator.name}: {operator.summary}{form}.", f"Where: {place}", *_measured(truth)]
    does = "Runs the right step and the broken one, compares their gradients, and prints what became of them as one line of JSON."
    return '"""{}\n"""'.format("\n".join([*about, "", does]).replace("\\", "\\\\").replace('"""', '\\"""'))


def _measured(truth: Truth | None) -> Iterable[str]:
    if truth is None:
        return
    cause, loss = f" ({truth.cause})" if truth.cause else "", "changes" if truth.loss_changed else "is the same"
    yield f"Measured: {truth.effect}{cause}, {'silent' if truth.silent else 'not silent'}, the loss {loss}."
    for state in State:
        names = [p.parameter for p in truth.parameters if p.state is state]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        if names:
            yield f"  {state}: {', '.join(names[:NAMED])}{more}"


def _imports(step: Step) -> str:
    lines = {"import json", "import math", "import sys", "import torch", *step.source.imports}
    ordered = sorted(lines, key=lambda line: ("torch" in line, line.startswith("from"), line))
    return "\n".join(["from __future__ import annotations\n", *ordered])


def _listed(names: Iterable[str]) -> str:
    return "".join(f"    {quoted(name)},\n" for name in names)


def _reseed(building: str) -> str:
    """How to seed before a pass: as the subject's own code does, if it seeds more than torch."""
    return "seed_all()" if "\ndef seed_all(" in building else "torch.manual_seed(SEED)"


def _helpers(step: Step, device: torch.device) -> list[str]:
    parts = list(step.source.helpers.values())
    if step.rewinds:
        parts.append(sections.REWIND.format(generator="torch.cuda" if device.type == "cuda" else "torch"))
    return [f"# ---- what the step calls ----\n\n{parts[0]}", *parts[1:]] if parts else []


def _edits(step: Step) -> str:
    lines = step.edits_of_leaves()
    return indent("\n".join(["if broken:", *(f"    {line}" for line in lines)]) + "\n", "    ") if lines else ""


__all__ = ["excerpt", "write"]
