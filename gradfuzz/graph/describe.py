"""A traced case as plain data, for what has no torch: the calls that carry gradient, what they read, and what a cut would sever."""

from __future__ import annotations

from typing import Any

from gradfuzz.graph.flow import Flow
from gradfuzz.graph.program import Instruction
from gradfuzz.graph.trace import TracedCase

VERSION = 1


def describe(traced: TracedCase) -> dict[str, Any]:
    """What ``graph.json`` holds. Lists are in order of execution, sets of parameters are hexadecimal: bit k is the k-th of ``parameters``.

    parameters: name, numel, and whether the truth is about it (live). nodes: the calls that carry gradient, and the subject's own stops;
    each with name, op, module, module_class, source, stop, reads (nodes that it sends a gradient to), parameters (read by it, numbers into
    the list), severed and altered (by structure alone, what a cut of the node does; see ``graph.flow``). quiet: how many other calls there
    are. output: the name of the loss.
    """
    flow = Flow(traced)
    numbers = {name: place for place, name in enumerate(flow.parameters)}
    drawn = [i for i in traced.program.instructions if i.stop or i.name in flow.receivers or i.name == traced.program.output]
    names = {instruction.name for instruction in drawn}
    return {
        "version": VERSION,
        "subject": traced.name,
        "parameters": [
            {"name": name, "numel": traced.leaves[f"parameter:{name}"].numel(), "live": name in traced.live} for name in flow.parameters
        ],
        "nodes": [_node(instruction, flow, names, numbers) for instruction in drawn],
        "quiet": len(traced.program.instructions) - len(drawn),
        "output": traced.program.output,
    }


def _node(instruction: Instruction, flow: Flow, names: set[str], numbers: dict[str, int]) -> dict[str, Any]:
    sends = [name for name in instruction.reads if instruction.name in flow.receivers.get(name, ())]
    bare = [name.removeprefix("parameter:") for name in sends if name.startswith("parameter:")]
    cut = flow.cut(instruction.name)
    return {
        "name": instruction.name,
        "op": instruction.op,
        "module": instruction.module,
        "module_class": instruction.module_class,
        "source": instruction.source,
        "stop": instruction.stop,
        "reads": [name for name in (instruction.reads if instruction.stop else sends) if name in names],
        "parameters": [numbers[name] for name in bare if name in numbers],
        "severed": f"{cut.severed:x}",
        "altered": f"{cut.altered:x}",
    }
