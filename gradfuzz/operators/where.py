"""Which sites an operator can change: what several families ask of a traced case."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from gradfuzz.graph.execution import EXPECTED
from gradfuzz.graph.program import Instruction, Ref
from gradfuzz.graph.trace import TracedCase
from gradfuzz.isolation import isolated
from gradfuzz.operators import Where
from gradfuzz.operators.draft import Draft, is_float_tensor
from gradfuzz.records import Site

RECTIFIERS = frozenset({"relu", "relu6", "hardtanh", "hardswish", "hardsigmoid"})
"""Constant, with a gradient of exactly zero, below some threshold."""
ACTIVATIONS = RECTIFIERS | {
    "celu", "elu", "gelu", "leaky_relu", "log_sigmoid", "mish", "prelu", "rrelu", "selu", "sigmoid", "silu", "softplus", "tanh",
}  # fmt: skip
BIAS_ARGUMENT = {"conv": 2, "linear": 2, "batch_norm": 2, "layer_norm": 3, "group_norm": 3}
TRANSPOSES = frozenset({"numpy_T", "t", "transpose", "permute"})
SOFTMAX = frozenset({"softmax", "log_softmax"})
CLASS_LOSSES = frozenset({"cross_entropy_loss", "nll_loss", "nll_loss_nd"})
"""They take numbers of classes."""
REGRESSION_LOSSES = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
LOSSES = CLASS_LOSSES | REGRESSION_LOSSES | {"binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div"}


def one_tensor(traced: TracedCase, site: Site) -> bool:
    """The value is one floating tensor."""
    return is_float_tensor(traced.values[site.value])


def has_zeros(traced: TracedCase, site: Site) -> bool:
    """The value is one floating tensor in which some element is exactly zero."""
    return one_tensor(traced, site) and traced.values[site.value].zeros


def calls(*ops: Iterable[str]) -> Where:
    """The site is a call of one of these operations on a value, and gives one floating tensor."""
    wanted = frozenset().union(*ops)

    def where(traced: TracedCase, site: Site) -> bool:
        instruction = traced.program.by_name[site.value]
        return instruction.op in wanted and bool(instruction.args) and isinstance(instruction.args[0], Ref) and one_tensor(traced, site)

    return where


def softmax_dim(traced: TracedCase, name: str) -> int:
    """The dimension, counted from the front, that a softmax normalises or a cross-entropy loss has its classes in."""
    instruction = traced.program.by_name[name]
    shape = shape_of(traced, instruction.args[0].name)
    if instruction.op in SOFTMAX:
        return instruction.args[1] % len(shape)
    return 1 if len(shape) > 1 else 0


def shape_of(traced: TracedCase, name: str) -> tuple[int, ...]:
    """The shape of a value that is one tensor; empty for a scalar and for what is no tensor."""
    return traced.values[name].shape or ()


def is_used(traced: TracedCase, leaf: str) -> bool:
    return bool(traced.program.users.get(leaf))


def bias_of(instruction: Instruction) -> str | None:
    """The parameter that an affine layer adds last, by bare name."""
    index = BIAS_ARGUMENT.get("conv" if instruction.op.startswith("conv") else instruction.op)
    return None if index is None else _parameter(instruction, index)


def weight_of(traced: TracedCase, instruction: Instruction) -> str | None:
    """The parameter that a matrix product or convolution multiplies by, by bare name; also when it is transposed first."""
    if instruction.op == "linear" or instruction.op.startswith("conv"):
        return _parameter(instruction, 1)
    if instruction.op not in ("matmul", "mm", "bmm"):
        return None
    origins = [_before_turning(traced, ref.name) for ref in instruction.args]
    return next((name.removeprefix("parameter:") for name in origins if name.startswith("parameter:")), None)


def _before_turning(traced: TracedCase, name: str) -> str:
    turned = traced.program.by_name.get(name)
    return _before_turning(traced, turned.args[0].name) if turned is not None and turned.op in TRANSPOSES else name


def _parameter(instruction: Instruction, index: int) -> str | None:
    found = instruction.args[index] if len(instruction.args) > index else None
    return found.name.removeprefix("parameter:") if isinstance(found, Ref) and found.name.startswith("parameter:") else None


def runs(edit: Callable[[Draft, Site], None]) -> Where:
    """The loss is still one number after the edit, whatever shapes it changed: tried on tensors without memory, as far as shapes differ."""

    def where(traced: TracedCase, site: Site) -> bool:
        draft = Draft(traced)
        edit(draft, site)
        mutation = draft.finish()
        edited = {instruction.name for _, instruction in mutation.edits}
        changed: dict[str, object] = {}
        with isolated(traced.seed):
            try:
                for instruction in mutation.program.instructions:
                    if instruction.name not in edited and not any(name in changed for name in instruction.reads):
                        continue
                    known = {name: changed[name] if name in changed else _without_memory(traced, name) for name in instruction.reads}
                    result = instruction.execute(known)
                    old = traced.values.get(instruction.name)
                    if old is None or not isinstance(result, torch.Tensor) or (result.shape, result.dtype) != (old.shape, old.dtype):
                        changed[instruction.name] = result
            except EXPECTED:
                return False
        loss = changed.get(mutation.program.output)
        return not isinstance(loss, torch.Tensor) or loss.numel() == 1

    return where


def _without_memory(traced: TracedCase, name: str) -> torch.Tensor:
    value = traced.values[name]
    if value.shape is None:
        raise TypeError(f"'{name}' is not one tensor")
    return torch.empty(value.shape, dtype=value.dtype, device="meta")
