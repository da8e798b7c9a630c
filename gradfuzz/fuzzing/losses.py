"""The kinds of loss, plainest first, and how several heads become one number."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from gradfuzz.fuzzing.layers import linear
from gradfuzz.fuzzing.writing import Value, Writer, aten

CLASSES = 3


@dataclass(frozen=True)
class Loss:
    """width: of the head's output. target: text that draws one. write: ``write(writer, output, target)`` gives the loss."""

    width: int
    target: str
    write: Callable[[Writer, Value, Value], Value]


def _one_call(text: str, call: Callable[..., object]) -> Callable[[Writer, Value, Value], Value]:
    return lambda w, output, target: w.let(text.format(output, target), call, output, target)


def _of_equal_shapes(text: str, call: Callable[..., object]) -> Callable[[Writer, Value, Value], Value]:
    """torch.nn.functional first broadcasts output and target to one shape."""

    def write(w: Writer, output: Value, target: Value) -> Value:
        both = w.let("", aten.broadcast_tensors.default, [output, target])
        equal = [w.let("", operator.getitem, both, place) for place in (0, 1)]
        return w.let(text.format(output, target), call, *equal)

    return write


def _log_likelihood(w: Writer, output: Value, target: Value) -> Value:
    logs = w.let(f"torch.log_softmax({output}, 1)", aten.log_softmax.int, output, 1)
    return w.let(f"F.nll_loss({logs}, {target})", aten.nll_loss_nd.default, logs, target)


def _hinge(w: Writer, output: Value, target: Value) -> Value:
    margin = w.let(f"{output} * {target}", aten.mul.Tensor, output, target)
    short = w.let(f"F.softplus({margin})", aten.softplus.default, margin)
    return w.let(f"{short}.mean()", aten.mean.default, short)


NOISE, NUMBERS, BITS = "torch.randn({batch}, 1)", "torch.randint(0, {classes}, ({batch},))", "torch.randint(0, 2, ({batch}, 1)).float()"
LOSSES: dict[str, Loss] = {
    "mse": Loss(1, NOISE, _of_equal_shapes("F.mse_loss({}, {})", aten.mse_loss.default)),
    "cross_entropy": Loss(CLASSES, NUMBERS, _one_call("F.cross_entropy({}, {})", aten.cross_entropy_loss.default)),
    "binary": Loss(1, BITS, _one_call("F.binary_cross_entropy_with_logits({}, {})", aten.binary_cross_entropy_with_logits.default)),
    "smooth_l1": Loss(1, NOISE, _of_equal_shapes("F.smooth_l1_loss({}, {})", aten.smooth_l1_loss.default)),
    "log_likelihood": Loss(CLASSES, NUMBERS, _log_likelihood),
    "margin": Loss(1, NOISE, _hinge),
}
"""Name -> loss, in the order in which a shrunk architecture prefers them."""


def write_losses(w: Writer, values: list[Value]) -> None:
    """The heads at the end of ``forward``, and ``loss_fn``: the sum of the losses, each by its weight."""
    heads = w.architecture.heads
    outputs = []
    for place, head in enumerate(heads):
        w.kind, w.place = head.loss, f"h{place}"
        pooled = w.let(f"{values[head.read]}.mean(1)", aten.mean.dim, values[head.read], [1])
        outputs.append(linear(w, pooled, LOSSES[head.loss].width))
    w.returned = ", ".join(map(str, outputs))
    w.in_loss = True
    total: Value | None = None
    for place, (head, output) in enumerate(zip(heads, outputs, strict=True)):
        w.kind, one = head.loss, len(heads) == 1
        w.targets.append(LOSSES[head.loss].target.format(batch=w.architecture.batch, classes=CLASSES))
        given, target = ("output", "target") if one else (f"output[{place}]", f"target[{place}]")
        loss = _told(w, LOSSES[head.loss].write, output, given, target)
        if head.weight != 1.0:
            loss = w.let(f"{head.weight} * {loss}", aten.mul.Tensor, loss, head.weight)
        total = loss if total is None else w.let(f"{total} + {loss}", aten.add.Tensor, total, loss)
    w.in_loss = False


def _told(w: Writer, write: Callable[[Writer, Value, Value], Value], output: Value, given: str, target: str) -> Value:
    """Write a loss whose text calls the model's output ``given``."""
    before = len(w.loss)
    loss = write(w, output, Value(target, 0))
    w.loss[before:] = [_renamed(line, output.name, given) for line in w.loss[before:]]
    return loss


def _renamed(line: str, old: str, new: str) -> str:
    return re.sub(rf"\b{old}\b", new, line)
