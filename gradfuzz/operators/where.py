"""Which sites an operator can change: what several families ask of a traced case."""

from __future__ import annotations

from collections.abc import Iterable

from gradfuzz.graph.program import Instruction, Ref
from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators import Where
from gradfuzz.operators.draft import is_float_tensor
from gradfuzz.records import Site

RECTIFIERS = frozenset({"relu", "relu6", "hardtanh", "hardswish", "hardsigmoid"})
"""Constant, with a gradient of exactly zero, below some threshold."""
ACTIVATIONS = RECTIFIERS | {
    "celu", "elu", "gelu", "leaky_relu", "log_sigmoid", "mish", "prelu", "rrelu", "selu", "sigmoid", "silu", "softplus", "tanh",
}  # fmt: skip
BIAS_ARGUMENT = {"conv": 2, "linear": 2, "batch_norm": 2, "layer_norm": 3, "group_norm": 3}
TRANSPOSES = frozenset({"numpy_T", "t", "transpose", "permute"})
SOFTMAX = frozenset({"softmax", "log_softmax"})


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
