"""A mutant in its live form: a training case that others may run forward and backward at will.

The mutated program is cut in two where the model ends and the loss begins. The model's part becomes a module with the parameter and buffer
names of the original, the loss's part a loss function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import torch.utils._pytree as pytree
from torch import Tensor, nn

from gradfuzz.engine.runtime.road import RuntimeCase
from gradfuzz.graph.program import Instruction, Program, Watch, execute
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators.case_draft import CaseMutation
from gradfuzz.operators.checkpoint import Region
from gradfuzz.operators.draft import Mutation
from gradfuzz.subjects.case import Batch, Case

LOSS = "loss"  # the module of instructions that run outside the model


def live_case(traced: TracedCase, mutation: Mutation) -> Case:
    """A mutant as a fresh case: parameters, buffers and batch are clones, so that two calls share nothing.

    Under ``isolated(traced.seed)`` its first pass draws the random numbers of the traced one, unless the mutant removed a draw.

    What torch.export baked in stays so: shapes (give batches of the same shapes), dtypes named in the program, and the mode (``eval()``
    changes nothing). Submodules are there by name, with their parameters, but plain: what is called is the model as a whole. One without
    children that somebody hooked is called beside, as the identity, on the last value of its instructions; hooks on others never run.
    ``num_batches_tracked`` of BatchNorm stands still. A ``train_step`` of the author's gets the live model; a loss that it computes by
    itself is the author's, not the mutated one.
    """
    if isinstance(mutation, CaseMutation):
        return mutation.case()
    if isinstance(traced, RuntimeCase):
        return traced.case_of(mutation)
    case = traced.case
    arranged = _Arranger(traced, mutation.with_grad)
    parts = _Parts.of(traced, mutation.program, arranged)
    make = case.make_batch
    return replace(
        case,
        model=LiveModel(case.model, _tensors_of(traced, mutation), parts),
        batch=arranged(case.batch),
        loss_fn=LiveLoss(parts),
        make_batch=(lambda k: arranged(make(k))) if make else None,
    )


class _Arranger:
    """Clones batches, and knows which leaf each tensor of a batch is.

    aliases: where one tensor is both input and target (an autoencoder's), torch.export lets the model read it by the target's leaf.
    """

    def __init__(self, traced: TracedCase, with_grad: Iterable[str]) -> None:
        self._with_grad = frozenset(with_grad)
        (inputs, target), names = traced.case.batch, traced.inputs
        count = len(_tensors(inputs))
        self.inputs, self.targets = names[:count], names[count:]
        owner = {id(tensor): name for name, tensor in zip(names[:count], _tensors(inputs), strict=True)}
        self.aliases = {name: owner[id(t)] for name, t in zip(names[count:], _tensors(target), strict=True) if id(t) in owner}
        self.keywords = tuple(inputs) if isinstance(inputs, Mapping) else ()

    def __call__(self, batch: Batch) -> Batch:
        names = iter((*self.inputs, *self.targets))

        def clone(item: Any) -> Any:
            return item.detach().clone().requires_grad_(next(names) in self._with_grad) if isinstance(item, Tensor) else item

        inputs, target = batch
        return pytree.tree_map(clone, inputs), pytree.tree_map(clone, target)


def _tensors(value: Any) -> list[Tensor]:
    return [item for item in pytree.tree_leaves(value) if isinstance(item, Tensor)]


@dataclass(frozen=True, eq=False)
class _Parts:
    """The two halves of a mutated program.

    passed: what the loss half reads of the model half, or of leaves that only the model has: the output of the live model. inputs,
    targets: leaf names of the tensors of a batch. aliases: further names of inputs. keywords: names of the model's arguments, if it takes
    them by name.
    """

    model: tuple[Instruction, ...]
    loss: tuple[Instruction, ...]
    passed: tuple[str, ...]
    output: str
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    aliases: dict[str, str]
    keywords: tuple[str, ...]
    constants: dict[str, Tensor]

    @classmethod
    def of(cls, traced: TracedCase, program: Program, arranged: _Arranger) -> _Parts:
        instructions = tuple(_with_eager_stream(instruction) for instruction in program.instructions)
        border = _border(instructions, traced.program, frozenset(arranged.targets) - frozenset(arranged.aliases))
        model, loss = instructions[:border], instructions[border:]
        constants = {name: tensor.detach().clone() for name, tensor in traced.leaves.items() if name.startswith("constant:")}
        given = {*arranged.targets, *constants, *(instruction.name for instruction in loss)}
        read = (*(name for instruction in loss for name in instruction.reads), program.output)
        passed = tuple(dict.fromkeys(name for name in read if name not in given))
        return cls(model, loss, passed, program.output, arranged.inputs, arranged.targets, arranged.aliases, arranged.keywords, constants)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Parts:
        return self  # nothing in it ever changes


def _with_eager_stream(instruction: Instruction) -> Instruction:
    """A checkpointed region draws from the running generator here, not from the recorded states of the first pass."""
    region = instruction.target
    if not isinstance(region, Region):
        return instruction
    return replace(instruction, target=Region(region.body, region.inputs, region.closed, region.outputs, {}))


def _border(instructions: tuple[Instruction, ...], original: Program, targets: frozenset[str]) -> int:
    """Index of the first instruction of the loss: of its own ones in the original program, or of one that reads the target."""
    of_the_loss = {i.name for i in takewhile(lambda i: i.module == LOSS, reversed(original.instructions))}

    def belongs(instruction: Instruction) -> bool:
        body = instruction.target.body if isinstance(instruction.target, Region) else (instruction,)
        return any(i.name in of_the_loss for i in body) or any(name in targets for name in instruction.reads)

    return next((place for place, instruction in enumerate(instructions) if belongs(instruction)), len(instructions))


def _tensors_of(traced: TracedCase, mutation: Mutation) -> Callable[[str, Tensor], Tensor]:
    """``(leaf name, original tensor)`` -> a fresh tensor with the mutant's value and ``requires_grad``."""

    def fresh(leaf: str, original: Tensor) -> Tensor:
        value = mutation.tensors.get(leaf, original).detach().clone()
        if not leaf.startswith("parameter:"):
            return value
        wanted = (traced.leaves[leaf].requires_grad and leaf not in mutation.frozen) or leaf in mutation.with_grad
        return nn.Parameter(value, requires_grad=wanted)

    return fresh


class Container(nn.Module):
    """A module without code of its own: a place for names."""

    def forward(self, value: Any) -> Any:
        return value


class LiveModel(Container):
    """The model's half of a mutated program. ``forward`` takes the inputs of the original model, as many tensors of the same shapes.

    It returns what the loss's half reads: mostly the output of the original, else a tuple. With ``named_parameters``, ``named_buffers`` and
    ``named_modules`` as the original's, tied weights included.
    """

    def __init__(self, original: nn.Module, fresh: Callable[[str, Tensor], Tensor], parts: _Parts) -> None:
        super().__init__()
        self._parts = parts
        _Mirror(original, fresh).fill(original, self)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        parts = self._parts
        given = _tensors({name: kwargs[name] for name in parts.keywords} if parts.keywords else args)
        environment: dict[str, Any] = dict(zip(parts.inputs, given, strict=True))
        environment |= {alias: environment[name] for alias, name in parts.aliases.items()}
        environment |= {f"parameter:{name}": tensor for name, tensor in self.named_parameters(remove_duplicate=False)}
        environment |= {f"buffer:{name}": tensor for name, tensor in self.named_buffers(remove_duplicate=False)}
        environment |= parts.constants
        execute(parts.model, environment, {}, self._calls_of_modules())
        passed = tuple(environment[name] for name in parts.passed)
        return passed[0] if len(passed) == 1 else passed

    def _calls_of_modules(self) -> Watch | None:
        """While somebody has hooks on leaf modules: each is called, as the identity, on the last value of a stretch of its instructions."""
        hooked = {
            name: m
            for name, m in self.named_modules()
            if name and not m._modules and (m._forward_hooks or m._forward_pre_hooks or m._backward_hooks)
        }
        if not hooked:
            return None
        following = (*(instruction.module for instruction in self._parts.model[1:]), "")
        pairs = zip(self._parts.model, following, strict=True)
        ends = {instruction for instruction, after in pairs if instruction.module in hooked and instruction.module != after}
        return lambda instruction, value: hooked[instruction.module](value) if instruction in ends and isinstance(value, Tensor) else value


class LiveLoss:
    """The loss's half of a mutated program: ``loss(output of the live model, target)`` gives the scalar loss."""

    __name__ = "live_loss"

    def __init__(self, parts: _Parts) -> None:
        self._parts = parts

    def __call__(self, output: Any, target: Any) -> Tensor:
        parts = self._parts
        environment: dict[str, Any] = dict(zip(parts.targets, _tensors(target), strict=True))
        environment |= dict(zip(parts.passed, (output,) if len(parts.passed) == 1 else output, strict=True)) | parts.constants
        execute(parts.loss, environment, {})
        loss: Tensor = environment[parts.output]
        return loss


class _Mirror:
    """Rebuilds the tree of a model's names out of containers. What is shared in the original, module or tensor, is shared here."""

    def __init__(self, original: nn.Module, fresh: Callable[[str, Tensor], Tensor]) -> None:
        self._containers: dict[int, Container] = {}
        self._fresh: dict[int, Any] = {}
        for name, parameter in original.named_parameters():
            self._fresh[id(parameter)] = fresh(f"parameter:{name}", parameter)
        for name, buffer in original.named_buffers():
            self._fresh[id(buffer)] = fresh(f"buffer:{name}", buffer)

    def fill(self, original: nn.Module, container: Container) -> Container:
        self._containers[id(original)] = container
        container.training = original.training
        container._non_persistent_buffers_set.update(original._non_persistent_buffers_set)
        for name, parameter in original._parameters.items():
            container._parameters[name] = None if parameter is None else self._fresh[id(parameter)]
        for name, buffer in original._buffers.items():
            container._buffers[name] = None if buffer is None else self._fresh[id(buffer)]
        for name, child in original._modules.items():
            if child is not None:
                container._modules[name] = self._containers.get(id(child)) or self.fill(child, Container())
        return container
