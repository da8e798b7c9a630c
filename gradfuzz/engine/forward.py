"""The forward half of a mutant in the shared engine: compute again only what reads a value, or a need of gradients, that changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from gradfuzz.engine.pieces import Needs, Piece, run_piece
from gradfuzz.engine.retained import Pieces
from gradfuzz.engine.worklist import Worklist
from gradfuzz.graph.functionalize import is_view
from gradfuzz.graph.program import Instruction, Program, RandomStates, Ref, refs, substitute, tensors_of
from gradfuzz.operators.draft import Mutation


class Forward:
    """What is different about one mutant, seen from the reference pass.

    pieces: the instructions that ran again or have other inputs. dirty: names of values that are not the reference's, in bits or in
    layout. preserved: every insertion that claimed to keep its argument's bits did.
    """

    def __init__(self, base: Pieces, program: Program, random_states: RandomStates, mutation: Mutation) -> None:
        self.base, self.program, self.random_states, self.mutation = base, program, random_states, mutation
        self.edited = {instruction.name: instruction for _, instruction in mutation.edits}
        self.pieces: dict[str, Piece] = {}
        self.dirty: set[str] = set(mutation.tensors)
        self.preserved = True
        self._place = {instruction.name: place for place, instruction in mutation.edits}
        self._local: dict[str, Any] = {leaf: tensor.detach() for leaf, tensor in mutation.tensors.items()}
        self._needs: dict[str, Needs] = {}
        self._stands_for: dict[str, str] = {}
        self._extra: dict[str, list[str]] = defaultdict(list)
        for instruction in self.edited.values():
            for name in instruction.reads:
                self._extra[name].append(instruction.name)

    def run(self) -> None:
        """Raises whatever the mutated code raises."""
        flags = [(leaf, False) for leaf in self.mutation.frozen] + [(leaf, True) for leaf in self.mutation.with_grad]
        self._needs.update({leaf: flag for leaf, flag in flags if self.base.requires.get(leaf, False) is not flag})
        waiting = Worklist(1.0)
        for name in (*self.edited, *(reader for leaf in (*self.dirty, *self._needs) for reader in self.readers(leaf))):
            waiting.push(self.at(name), name)
        while waiting:
            name = waiting.pop()
            if self._changes(name):
                for reader in self.readers(name):
                    waiting.push(self.at(reader), reader)

    def at(self, name: str) -> float:
        """Position of an instruction; leaves stand before all of them."""
        return self._place[name] if name in self._place else float(self.program.position.get(name, -1))

    def readers(self, name: str) -> Iterator[str]:
        """Instructions of the mutated program that read a value."""
        yield from (user for user in self.program.users.get(name, ()) if user not in self.edited)
        yield from self._extra.get(name, ())

    def needs(self, name: str) -> Needs:
        """Whether a value, or which elements of it, require grad in the mutant."""
        return self._needs.get(name, self.base.requires.get(name, False))

    def piece(self, name: str) -> Piece:
        return self.pieces[name] if name in self.pieces else self.base.pieces[name]

    def value(self, name: str) -> Any:
        return self._local[name] if name in self._local else self.base.environment[name]

    def origin(self, name: str) -> str:
        """The reference's value that a value has the bits of, where an insertion merely passes it on; else itself."""
        return self._stands_for.get(name, name)

    def insert(self, now: Instruction) -> Piece:
        """Execute an instruction that the reference does not have, once."""
        if now.name in self.pieces:
            return self.pieces[now.name]
        piece = self.pieces[now.name] = self._execute(now)
        self._local[now.name], self._needs[now.name] = piece.value, piece.needs
        argument = now.args[0].name if now.preserves else ""
        kept = now.preserves and same_bits(piece.value, self.value(argument))
        self.preserved = self.preserved and (kept or not now.preserves)
        if kept and argument not in self.dirty and same_layout(piece.value, self.value(argument)):
            self._stands_for[now.name] = self._stands_for.get(argument, argument)
        else:
            self.dirty.add(now.name)
        return piece

    def stands_for_another(self, name: str) -> bool:
        """Whether an inserted instruction gave the very bits of a value of the reference, in the same layout."""
        return name in self._stands_for

    # -- one instruction ----------------------------------------------------------------------------------------------------------------

    def _changes(self, name: str) -> bool:
        """Look at one instruction; whether what it gives, or whether it requires grad, is not what it was."""
        old = self.program.by_name.get(name)
        now = self.edited.get(name, old)
        assert now is not None
        if old is None:
            self.insert(now)
            return False  # its readers are edited, and so wait already
        if not self._same_call(now, old):
            piece = self._execute(now)
        elif (is_composite(now) or is_view(now) or self.base.pieces[name].passes_on) and self._other_needs(now, old):
            piece = self._again(now)
        else:
            piece = self._narrowed(now, old)
        self.pieces[name] = piece
        before = self.base.pieces[name].value
        if not same_bits(piece.value, before) or not same_layout(piece.value, before):
            self.dirty.add(name)
            self._local[name] = piece.value
        if piece.needs != self.base.requires[name]:
            self._needs[name] = piece.needs
        return name in self.dirty or name in self._needs

    def _execute(self, instruction: Instruction) -> Piece:
        names = instruction.reads
        environment = {name: self.value(name).clone() if name.startswith("buffer:") else self.value(name) for name in names}
        needs = {name: self.needs(name) for name in names}
        return run_piece(instruction, environment, needs, self.random_states, edited=instruction.name in self.edited)

    def _again(self, now: Instruction) -> Piece:
        """The reference's call on the reference's values, where other things require grad: the same for all mutants that ask for it."""
        key = now.name, now.grad, tuple(self.needs(name) for name in _uses(now))
        if key not in self.base.variants:
            self.base.variants[key] = self._execute(now)
        known, names = self.base.variants[key], [name for name in _uses(now) if self.needs(name)]
        if not known.requires_grad or names == [name for name, _ in known.inputs]:
            return known
        return replace(known, inputs=tuple((name, part) for name, (_, part) in zip(names, known.inputs, strict=True)))

    def _same_call(self, now: Instruction, old: Instruction) -> bool:
        """The same function of the same values, under whatever names."""
        if now is not old:
            renamed = substitute((now.args, dict(now.kwargs)), lambda ref: Ref(self._stands_for.get(ref.name, ref.name)))
            if now.target is not old.target or renamed != (old.args, dict(old.kwargs)):
                return False
        return not any(name in self.dirty for name in now.reads)

    def _other_needs(self, now: Instruction, old: Instruction) -> bool:
        return now.grad != old.grad or any(
            self.needs(new) != self.base.requires.get(before, False) for new, before in zip(_uses(now), _uses(old), strict=True)
        )

    def _narrowed(self, now: Instruction, old: Instruction) -> Piece:
        """The same values by the same kernel: the old graph serves on, unless it has to send a gradient where it sent none."""
        piece, pairs = self.base.pieces[old.name], list(zip(_uses(now), _uses(old), strict=True))
        if not piece.requires_grad and now.grad == old.grad and not any(self._gains(pair) for pair in pairs):
            return Piece(piece.value)
        if not now.grad or not any(self.needs(new) for new, _ in pairs):
            return Piece(piece.value)
        if any(map(self._gains, pairs)) or now.grad != old.grad:
            return self._again(now)
        names = [new for new, before in pairs if self.base.requires.get(before, False)]
        return Piece(piece.value, tuple((new, part) for new, (_, part) in zip(names, piece.inputs, strict=True)), piece.output)

    def _gains(self, pair: tuple[str, str]) -> bool:
        """Whether a use requires grad that did not before."""
        now, before = self.needs(pair[0]), self.base.requires.get(pair[1], False)
        return bool(now) and now != before


def _uses(instruction: Instruction) -> list[str]:
    """The value behind every single use, in the order in which ``run_piece`` meets them."""
    return [ref.name for ref in refs((instruction.args, dict(instruction.kwargs)))]


# Composite operators that come down to the same kernels whatever requires grad; the differential tests are the witness.
STEADY = frozenset(
    [
        "batch_norm",
        "conv1d",
        "conv2d",
        "conv3d",
        "cross_entropy_loss",
        "dropout",
        "flatten",
        "group_norm",
        "instance_norm",
        "layer_norm",
        "log_softmax",
        "reshape",
        "softmax",
    ]
)


def is_composite(instruction: Instruction) -> bool:
    """Whether it may choose its kernels by what requires grad: composite operators do (``matmul`` folds), and so may a function of ours."""
    target = instruction.target
    if not isinstance(target, torch._ops.OpOverload):
        return True
    composite = target.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)
    return composite and instruction.op not in STEADY


def same_bits(one: Any, other: Any) -> bool:
    if one is other:
        return True
    mine, theirs = tensors_of(one), tensors_of(other)
    return len(mine) == len(theirs) and all(
        a is b or (a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)) for a, b in zip(mine, theirs, strict=True)
    )


def same_layout(one: Any, other: Any) -> bool:
    """Whether two values lie in memory in the same order: kernels may round differently if not."""
    return one is other or all(a.stride() == b.stride() for a, b in zip(tensors_of(one), tensors_of(other), strict=True))
