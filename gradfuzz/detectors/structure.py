"""Rules about what depends on what: by autograd's graph, by poison, and by the gradient of the inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gradfuzz.detectors import Verdict, accuse, detector

if TYPE_CHECKING:
    from torch import Tensor

    from gradfuzz.subjects.case import Case


def reached(loss: Tensor) -> set[int]:
    """``id`` of every leaf to which autograd's graph leads from the loss."""
    todo, seen, leaves = [loss.grad_fn], set(), set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))
        todo += [following for following, _ in node.next_functions]
    return leaves


@detector("graph-reachability", needs="case")
def graph_reachability(case: Case) -> Verdict:
    """Walking autograd's graph back from the loss does not lead to a parameter that requires grad.

    What reentrant activation checkpointing holds is not in that graph, and is flagged.
    """
    leaves = reached(case.loss())
    parameters = dict(case.model.named_parameters())
    lost = [name for name in case.trainable if parameters[name].requires_grad and id(parameters[name]) not in leaves]
    return accuse(lost, "not in the graph of the loss")


@detector("nan-poison-forward", needs="case")
def nan_poison_forward(case: Case, *, seed: int = 0) -> Verdict:
    """The loss stays finite when every element of a parameter is NaN: its value does not reach the loss.

    A forward that raises on NaN (as an index, say) was reached by it; a comparison or a mask may hide it. seed: every forward draws its
    random numbers from it.
    """
    import torch

    from gradfuzz.isolation import isolated

    def finite() -> bool:
        with isolated(seed):
            return bool(torch.isfinite(case.loss().detach()))

    if not finite():
        return Verdict(False, message="the loss is not finite before any poison", status="skipped")
    found = []
    buffers = {name: buffer.clone() for name, buffer in case.model.named_buffers()}
    parameters = dict(case.model.named_parameters())
    for name in case.trainable:
        kept = parameters[name].detach().clone()
        with torch.no_grad():
            parameters[name].fill_(float("nan"))
        with suppress(RuntimeError, IndexError, ValueError):
            if finite():
                found.append(name)
        with torch.no_grad():
            parameters[name].copy_(kept)
            for place, buffer in case.model.named_buffers():  # running statistics are poisoned too
                buffer.copy_(buffers[place])
    return accuse(found, "the loss does not depend on its value")


def tensors_of(value: Any) -> Iterator[Tensor]:
    """The floating tensors in nested tuples, lists and mappings."""
    from torch import Tensor

    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, (tuple, list, Mapping)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_of(item)


def watched_inputs(case: Case) -> list[Tensor]:
    """The floating inputs of the batch, made to require grad."""
    return [tensor.requires_grad_() for tensor in tensors_of(case.batch[0]) if tensor.is_leaf]


def forward(case: Case) -> Any:
    inputs = case.batch[0]
    return case.model(**inputs) if isinstance(inputs, Mapping) else case.model(*inputs)


NO_FLOATS = Verdict(False, message="the batch has no floating input", status="skipped")


@detector("input-dependency", needs="case")
def input_dependency(case: Case) -> Verdict:
    """The gradient of the loss by every floating input is missing or exactly zero: what the model is given does not matter."""
    import torch

    inputs = watched_inputs(case)
    if not inputs:
        return NO_FLOATS
    loss = case.loss()
    found = torch.autograd.grad(loss, inputs, allow_unused=True) if loss.requires_grad else ()
    flagged = not any(gradient is not None and bool(gradient.any()) for gradient in found)
    return Verdict(flagged, message="no input has a gradient" if flagged else "")


@detector("batch-independence", needs="case")
def batch_independence(case: Case) -> Verdict:
    """The output of one row depends on other rows of the batch, by the gradient of the inputs; BatchNorm in train mode does that."""
    import torch

    inputs = [tensor for tensor in watched_inputs(case) if tensor.dim()]
    if not inputs:
        return NO_FLOATS
    rows = inputs[0].shape[0]
    outputs = [t for t in tensors_of(forward(case)) if t.requires_grad and t.dim() and t.shape[0] == rows]
    inputs = [tensor for tensor in inputs if tensor.shape[0] == rows]
    if not outputs or rows < 2:
        return Verdict(False, message="the output has no rows that belong to rows of the input", status="skipped")
    row = rows // 2
    total = torch.stack([output[row].sum() for output in outputs]).sum()
    others = torch.arange(rows) != row
    for gradient in torch.autograd.grad(total, inputs, allow_unused=True):
        if gradient is not None and bool(gradient[others.to(gradient.device)].any()):
            return Verdict(True, message=f"row {row} of the output depends on other rows of the input")
    return Verdict(False)
