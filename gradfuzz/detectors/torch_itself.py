"""What torch has on board. Anomaly mode and the error of gradient clipping are negative controls: they look for NaN and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradfuzz.detectors import Verdict, accuse, detector

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gradfuzz.subjects.case import Case


@detector("anomaly-mode", needs="case")
def anomaly_mode(case: Case) -> Verdict:
    """``torch.autograd.detect_anomaly`` raises: some function returned NaN in its backward."""
    import torch

    with torch.autograd.detect_anomaly():
        try:
            case.loss().backward()
        except RuntimeError as error:
            if "returned nan values" not in str(error):
                raise
            return Verdict(True, message=str(error).splitlines()[0])
    return Verdict(False)


@detector("clip-error-if-nonfinite", needs="case")
def clip_error_if_nonfinite(case: Case, *, max_norm: float = 1.0) -> Verdict:
    """``clip_grad_norm_(error_if_nonfinite=True)`` raises. max_norm: what it clips to."""
    from torch.nn.utils import clip_grad_norm_

    case.loss().backward()
    try:
        clip_grad_norm_(case.model.parameters(), max_norm, error_if_nonfinite=True)
    except RuntimeError as error:
        if "non-finite" not in str(error):
            raise
        return Verdict(True, message=str(error).splitlines()[0])
    return Verdict(False)


@detector("gradcheck-parameters", needs="case")
def gradcheck_parameters(case: Case, *, entries: int = 8, most: int = 64, largest: int = 20_000_000, seed: int = 0) -> Verdict:
    """``torch.autograd.gradcheck`` of the loss by some entries of each parameter that requires grad, in float64, says no.

    entries: so many of each parameter, drawn with seed. most: of so many parameters, evenly spread over the model. ``fast_mode=True``.
    largest: skipped if the model has more elements.
    """
    import torch

    from gradfuzz.detectors.finite_difference import in_double

    size = sum(p.numel() for p in case.model.parameters())
    if size > largest:
        return Verdict(False, message=f"the model has {size} elements, gradcheck is for small ones", status="skipped")
    double = in_double(case)
    wanted = dict(double.model.named_parameters())
    names = [name for name in double.trainable if wanted[name].requires_grad]
    every = max(1, -(-len(names) // most))
    generator = torch.Generator().manual_seed(seed)
    found = []
    for name in names[::every]:
        chosen = torch.randperm(wanted[name].numel(), generator=generator)[:entries].to(wanted[name].device)
        if not _gradcheck(double, name, wanted[name].detach(), chosen, seed):
            found.append(name)
    return accuse(found, "gradcheck fails")


def _gradcheck(case: Case, name: str, weight: Tensor, chosen: Tensor, seed: int) -> bool:
    import torch
    from torch.func import functional_call

    from gradfuzz.isolation import isolated

    (inputs, target), buffers = case.batch, {key: buffer.clone() for key, buffer in case.model.named_buffers()}

    def loss(shift: Tensor) -> Tensor:
        moved = weight.flatten().index_add(0, chosen, shift).view_as(weight)
        arguments = ((), dict(inputs)) if isinstance(inputs, Mapping) else (tuple(inputs), {})
        state = {**{key: buffer.clone() for key, buffer in buffers.items()}, name: moved}
        with isolated(seed):
            return case.loss_fn(functional_call(case.model, state, *arguments), target)

    shift = torch.zeros(len(chosen), dtype=weight.dtype, device=weight.device, requires_grad=True)
    return torch.autograd.gradcheck(loss, (shift,), eps=1e-6, atol=1e-8, rtol=1e-3, fast_mode=True, raise_exception=False)


@detector("ddp-unused-parameters", needs="case")
def ddp_unused_parameters(case: Case) -> Verdict:
    """``DistributedDataParallel`` (gloo, one process) raises on the second forward: parameters got no gradient in the first backward."""
    import tempfile

    import torch.distributed

    dist: Any = torch.distributed  # its stores are not exported to type checkers
    if not dist.is_available() or dist.is_initialized():
        return Verdict(False, message="there is no torch.distributed here, or a process group of its own is running", status="skipped")
    with tempfile.TemporaryDirectory() as folder:
        store = dist.FileStore(str(Path(folder) / "store"), 1)  # not a port, which may be taken
        dist.init_process_group("gloo", store=store, rank=0, world_size=1)
        try:
            return _two_steps(case)
        finally:
            dist.destroy_process_group()


def _two_steps(case: Case) -> Verdict:
    from torch.nn.parallel import DistributedDataParallel

    parallel = DistributedDataParallel(case.model)
    _step(case, parallel)
    try:
        _step(case, parallel)
    except RuntimeError as error:
        if "Expected to have finished reduction" not in str(error):
            raise
        reduced = [name for name, p in case.model.named_parameters() if p.requires_grad]
        indices = re.search(r"did not receive grad for rank 0: ([\d ]+)", str(error))
        return accuse((reduced[int(k)] for k in indices.group(1).split()) if indices else reduced, "no gradient for DDP to reduce")
    return Verdict(False)


def _step(case: Case, parallel: nn.Module) -> None:
    inputs, target = case.batch
    output = parallel(**inputs) if isinstance(inputs, Mapping) else parallel(*inputs)
    case.loss_fn(output, target).backward()
