"""Where a traced case can be broken: sites of each kind, from what was recorded, in order of execution."""

from __future__ import annotations

from collections.abc import Callable

from gradfuzz.graph.program import Instruction
from gradfuzz.graph.trace import TracedCase
from gradfuzz.records import Kind, Site

SPAN = 3


def enumerate_sites(traced: TracedCase, kind: Kind) -> list[Site]:
    """Every site of one kind. A pair has no general form: operators that want pairs enumerate their own."""
    return _BY_KIND[kind](traced)


def carries_gradient(traced: TracedCase, name: str) -> bool:
    return name in traced.values and traced.values[name].requires_grad


def at(instruction: Instruction, kind: Kind, value: str, user: str = "") -> Site:
    """A site of a kind with the place of an instruction."""
    return Site(kind, value, user, instruction.module or ".", instruction.source)


def _nodes(traced: TracedCase) -> list[Site]:
    return [at(i, Kind.NODE, i.name) for i in traced.program.instructions if carries_gradient(traced, i.name)]


def _edges(traced: TracedCase) -> list[Site]:
    """One user of a value that several use: where a cut is partial."""
    found = []
    for node in _nodes(traced):
        users = [user for user in traced.program.users.get(node.value, ()) if carries_gradient(traced, user)]
        if len(users) > 1:
            found += [at(traced.program.by_name[user], Kind.EDGE, node.value, user) for user in users]
    return found


def _uses(traced: TracedCase) -> list[Site]:
    return [
        at(traced.program.by_name[user], Kind.USE, name, user)
        for name in traced.case.trainable
        for user in traced.program.users.get(f"parameter:{name}", ())
    ]


def _parameters(traced: TracedCase) -> list[Site]:
    return [_parameter_site(traced, name) for name in traced.parameters]


def _parameter_site(traced: TracedCase, name: str) -> Site:
    users = traced.program.users.get(f"parameter:{name}", ())
    source = traced.program.by_name[users[0]].source if users else ""
    return Site(Kind.PARAMETER, name, "", name.rpartition(".")[0] or ".", source)


def _modules(traced: TracedCase) -> list[Site]:
    """Every module, and every module around it, in which something that carries gradient is computed."""
    found: dict[str, Site] = {}
    for instruction in traced.program.instructions:
        if instruction.module == "loss" or not carries_gradient(traced, instruction.name):
            continue
        parts = instruction.module.split(".") if instruction.module else []
        for depth in range(len(parts) + 1):
            path = ".".join(parts[:depth])
            found.setdefault(path, Site(Kind.MODULE, path, "", path or ".", instruction.source))
    return list(found.values())


def _spans(traced: TracedCase) -> list[Site]:
    """Neighbouring instructions in groups of three, side by side over the whole program."""
    nodes = _nodes(traced)
    groups = [nodes[start : start + SPAN] for start in range(0, len(nodes), SPAN)]
    by_name = traced.program.by_name
    return [at(by_name[group[0].value], Kind.SPAN, group[0].value, group[-1].value) for group in groups if len(group) > 1]


def _inputs(traced: TracedCase) -> list[Site]:
    """Floating tensors of the batch."""
    return [Site(Kind.INPUT, name.removeprefix("input:")) for name in traced.inputs if traced.leaves[name].is_floating_point()]


def _subject(traced: TracedCase) -> list[Site]:
    return [Site(Kind.SUBJECT, "", "", ".")]


def inside_module(instruction: Instruction, path: str) -> bool:
    """Whether an instruction belongs to a module or to one below it; the loss belongs to none."""
    return instruction.module != "loss" and (not path or instruction.module == path or instruction.module.startswith(f"{path}."))


_BY_KIND: dict[Kind, Callable[[TracedCase], list[Site]]] = {
    Kind.NODE: _nodes,
    Kind.EDGE: _edges,
    Kind.USE: _uses,
    Kind.PARAMETER: _parameters,
    Kind.MODULE: _modules,
    Kind.SPAN: _spans,
    Kind.INPUT: _inputs,
    Kind.SUBJECT: _subject,
}
