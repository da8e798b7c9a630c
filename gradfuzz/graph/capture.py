"""Case -> instructions, by torch.export: the one place that knows about fx nodes.

torch.export goes inside attention and recurrent modules, where symbolic tracing stops, keeps ``detach`` and ``no_grad``, and shares the
parameters. What it gets wrong (custom autograd functions lose their backward) is found by the baseline gate, not here.
"""

from __future__ import annotations

import operator
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.fx.proxy
import torch.utils._pytree as pytree
from torch import Tensor, fx, nn

from gradfuzz.errors import Refused
from gradfuzz.graph.functionalize import functionalize
from gradfuzz.graph.naming import frame_location, is_user_frame, module_of, readable_names, source_of
from gradfuzz.graph.program import Instruction, Program, Ref, refs, substitute
from gradfuzz.subjects.case import Case, Objective


@dataclass(frozen=True)
class Captured:
    """program: what is computed. leaves: the tensors it starts from, by leaf name, shared with the model and the batch.

    inputs: leaf names of the batch's tensors, in the order of ``pytree.tree_leaves(case.batch)``.
    """

    program: Program
    leaves: dict[str, Tensor]
    inputs: tuple[str, ...]


def capture(case: Case) -> Captured:
    """Trace model and loss of a case into one program. Raises ``Refused`` with the user's line where that is not possible."""
    objective = Objective(case)
    exported = _export(objective, case)
    walker = _Walker(objective)
    flat = pytree.tree_leaves(case.batch)
    placeholders = [node for node in exported.graph.nodes if node.op == "placeholder"]
    for node, value in zip(placeholders, flat, strict=True):
        walker.values[node] = walker.leaf(f"input:{node.name}", value) if isinstance(value, Tensor) else value
    outputs = walker.walk(exported, grad=True)
    loss = next(refs(outputs), None)
    if loss is None:
        raise Refused("the loss does not depend on anything that was computed: return the loss tensor itself from the loss function")
    taken = {instruction.name for instruction in walker.instructions}
    instructions = functionalize(walker.instructions, lambda wish: _unused(wish, taken))
    program = _drop_dead(Program(tuple(instructions), loss.name))
    program = _rename(program, readable_names(program))
    used = {name for instruction in program.instructions for name in instruction.reads}
    leaves = {name: tensor for name, tensor in walker.leaves.items() if name in used or name.startswith(("parameter:", "input:"))}
    return Captured(program, leaves, tuple(name for name in leaves if name.startswith("input:")))


def _export(objective: Objective, case: Case) -> fx.GraphModule:
    try:
        with _whole_stack_traces():
            module = torch.export.export(objective, case.batch, strict=False).module()
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_user_frame(frame.filename)]
        where = f"{frame_location(frames[-1].filename, frames[-1].lineno or 0)} `{frames[-1].line}`" if frames else "the model"
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise Refused(
            f"cannot trace {where}: {reason[:200]} - control flow that depends on data, .item() and .data cannot become one graph: "
            f"use torch.where or masks there, or break its running step instead of its graph: --level runtime"
        ) from error
    assert isinstance(module, fx.GraphModule)
    return module


@contextmanager
def _whole_stack_traces() -> Iterator[None]:
    """Let the tracer keep every frame of the user's code; by itself torch.export keeps only functions that are called ``forward``."""
    own = fx.proxy.TracerBase._filter_traceback_frames
    objective_file = Objective.forward.__code__.co_filename

    def whole(self: fx.proxy.TracerBase, frames: traceback.StackSummary) -> traceback.StackSummary:
        inside = [place for place, frame in enumerate(frames) if frame.filename == objective_file]
        return traceback.StackSummary.from_list([f for f in frames[max(inside, default=-1) + 1 :] if is_user_frame(f.filename)])

    fx.proxy.TracerBase._filter_traceback_frames = whole  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        fx.proxy.TracerBase._filter_traceback_frames = own  # type: ignore[method-assign, assignment]


class _Walker:
    """Turns fx nodes into instructions, inlining ``no_grad`` regions."""

    def __init__(self, objective: Objective) -> None:
        self.instructions: list[Instruction] = []
        self.leaves: dict[str, Tensor] = {}
        self.values: dict[fx.Node, Any] = {}
        model = objective.model
        first = {id(p): name for name, p in model.named_parameters()}
        self._parameters = {name: first[id(p)] for name, p in model.named_parameters(remove_duplicate=False)}
        for name, p in model.named_parameters():
            self.leaf(f"parameter:{name}", p)
        self._buffers = dict(model.named_buffers(remove_duplicate=False))

    def leaf(self, name: str, tensor: Tensor) -> Ref:
        self.leaves[name] = tensor
        return Ref(name)

    def walk(self, module: fx.GraphModule, grad: bool) -> Any:
        for node in module.graph.nodes:
            if node.op == "output":
                return self._mapped(node.args[0])
            if node.op == "get_attr":
                self.values[node] = self._attribute(module, str(node.target))
            elif node.op == "call_function":
                self.values[node] = self._call(node, grad)
            elif node.op == "call_module" and str(node.target) != "_guards_fn":
                raise Refused(
                    f"{source_of(node) or 'the model'} calls {node.target}, which torch.export left whole: gradfuzz cannot look inside"
                )
        raise Refused("the traced graph has no output")

    def _mapped(self, argument: Any) -> Any:
        return fx.map_arg(argument, lambda node: self.values[node])

    def _attribute(self, module: fx.GraphModule, path: str) -> Any:
        target: Any = module
        for part in path.split("."):
            target = getattr(target, part)
        if isinstance(target, nn.Module):
            return target
        name = path.removeprefix("model.")
        if name in self._parameters:
            return Ref(f"parameter:{self._parameters[name]}")
        return self.leaf(f"buffer:{name}" if name in self._buffers else f"constant:{path}", target)

    def _call(self, node: fx.Node, grad: bool) -> Any:
        target = node.target
        assert callable(target)
        args, kwargs = self._mapped(node.args), self._mapped(node.kwargs)
        if isinstance(target, torch._ops.HigherOrderOperator):
            return self._inline(node, str(target), args, grad)
        if target is operator.getitem and isinstance(args[0], (tuple, list)):
            return args[0][args[1]]
        name = _unused(node.name, {instruction.name for instruction in self.instructions})
        module, module_class = module_of(node)
        detaches = isinstance(target, torch._ops.OpOverload) and target._schema.name == "aten::detach"
        self.instructions.append(
            Instruction(
                name,
                target,
                _plain_lists(args),
                _plain_lists(dict(kwargs)),
                grad=grad,
                stop=detaches or not grad,
                module=module,
                module_class=module_class,
                source=source_of(node),
            )
        )
        return Ref(name)

    def _inline(self, node: fx.Node, name: str, args: tuple[Any, ...], grad: bool) -> Any:
        if name != "wrap_with_set_grad_enabled":
            raise Refused(f"{source_of(node) or 'the model'} uses {name}, which gradfuzz cannot mutate: take it out of the training case")
        enabled, body, *inputs = args
        for placeholder, value in zip((n for n in body.graph.nodes if n.op == "placeholder"), inputs, strict=True):
            self.values[placeholder] = value
        return self.walk(body, grad and enabled)


def _plain_lists(value: Any) -> Any:
    """fx's immutable lists and dicts as plain ones."""
    if isinstance(value, dict):
        return {key: _plain_lists(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_lists(item) for item in value]
    return tuple(_plain_lists(item) for item in value) if isinstance(value, tuple) else value


def _unused(wish: str, taken: set[str]) -> str:
    name, count = wish, 0
    while name in taken:
        count += 1
        name = f"{wish}_{count}"
    taken.add(name)
    return name


def draws_random_numbers(instruction: Instruction) -> bool:
    tags = getattr(instruction.target, "tags", ())
    return torch.Tag.nondeterministic_seeded in tags


def _drop_dead(program: Program) -> Program:
    """Without what the loss does not need; what draws random numbers stays, so that the stream is the eager one."""
    needed = program.ancestors(program.output)
    for instruction in program.instructions:
        if draws_random_numbers(instruction):
            needed |= program.ancestors(instruction.name)
    return Program(tuple(i for i in program.instructions if i.name in needed), program.output)


def _rename(program: Program, names: dict[str, str]) -> Program:
    def renamed(ref: Ref) -> Ref:
        return Ref(names.get(ref.name, ref.name))

    instructions = tuple(
        replace(i, name=names[i.name], args=substitute(i.args, renamed), kwargs=substitute(dict(i.kwargs), renamed))
        for i in program.instructions
    )
    return Program(instructions, names[program.output])
