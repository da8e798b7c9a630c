"""The training loops that operators break: each one is right, and the reference of its mutants."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch.utils._pytree as pytree
from torch import Tensor

from gradfuzz.graph.trace import TracedCase
from gradfuzz.operators.training import Stage, Training

PLAIN = "loop"
HALF_EXPONENT = -23
"""A loss is weighted so that the largest element of a gradient is about two to this power: the smallest float16 is 2**-24."""


def rows(traced: TracedCase) -> int:
    """How many samples the batch has: the common length of its tensors, or 0 if there is none."""
    tensors = [item for item in pytree.tree_leaves(traced.case.batch) if isinstance(item, Tensor)]
    lengths = {len(tensor) if tensor.dim() else 0 for tensor in tensors}
    return lengths.pop() if len(lengths) == 1 else 0


def parts(traced: TracedCase) -> int:
    """Into how many micro-batches the batch is split: four of two samples or more, else two; 0 if it cannot be split evenly."""
    count = rows(traced)
    return 4 if count >= 8 and count % 4 == 0 else 2 if count >= 2 and count % 2 == 0 else 0


def device(traced: TracedCase) -> str:
    return next(iter(traced.leaves.values())).device.type


def forward(traced: TracedCase) -> str:
    return "model(**inputs)" if isinstance(traced.case.batch[0], Mapping) else "model(*inputs)"


def total_norm(traced: TracedCase) -> float:
    """Of the reference gradient, over all parameters that have one."""
    return math.sqrt(math.fsum(size**2 for size in traced.norms.values()))


def limit(traced: TracedCase) -> str:
    """A norm to clip to, at which clipping matters: 1, as most do, or else half the reference's, two digits of it."""
    size = total_norm(traced)
    return "1.0" if size > 1.5 else f"{size / 2:.1e}"


def small_weight(traced: TracedCase) -> str:
    """A power of two for the loss, see ``HALF_EXPONENT``."""
    gradients = (traced.reference.gradients.get(name) for name in traced.live)
    largest = max(float(gradient.abs().max()) for gradient in gradients if gradient is not None)
    return f"2.0**{HALF_EXPONENT - math.ceil(math.log2(largest))}"


def loop(traced: TracedCase, name: str = PLAIN, own: bool = False) -> Training:
    """A training program with one of the loops, or, if it may be its ``own``, with the step that its author brings."""
    return Training() if own and traced.case.train_step is not None else _LOOPS[name](traced)


def loops(traced: TracedCase) -> tuple[str, ...]:
    """The loops that a case can be trained by: none with micro-batches if its batch cannot be split."""
    count = rows(traced)
    fits = {"accumulation": parts(traced), "clipped-accumulation": parts(traced), "uneven": count > 2}
    fits |= {"updates": count % 2 == 0 < count, "epoch": parts(traced), "ranks": count % 4 == 0 < count}
    return tuple(name for name in _LOOPS if fits.get(name, True))


def _plain(traced: TracedCase) -> Training:
    return Training(
        (
            Stage("unpack", "inputs, target = batch"),
            Stage("zero_grad", "optimizer.zero_grad()"),
            Stage("forward", f"loss = loss_fn({forward(traced)}, target)"),
            Stage("backward", "loss.backward()"),
            Stage("step", "optimizer.step()"),
            Stage("result", "return loss"),
        )
    )


def _accumulation(traced: TracedCase) -> Training:
    count = parts(traced)
    return Training(
        (
            Stage("zero_grad", "optimizer.zero_grad()"),
            Stage("split", f"for inputs, target in micro_batches(batch, {count}):"),
            Stage("forward", f"loss = loss_fn({forward(traced)}, target) / {count}", 1),
            Stage("backward", "loss.backward()", 1),
            Stage("step", "optimizer.step()"),
            Stage("result", "return loss"),
        )
    )


def _epoch(traced: TracedCase) -> Training:
    """Several updates, each on samples of its own."""
    whole = _plain(traced).without("unpack")
    return whole.inside("zero_grad", "step", Stage("split", f"for inputs, target in micro_batches(batch, {parts(traced)}):"))


def _ranks(traced: TracedCase) -> Training:
    """Data-parallel training, two ranks in one process with two micro-batches each; the first rank is the one that is looked at."""
    return Training(
        (
            Stage("parameters", "parameters = [p for p in model.parameters() if p.requires_grad]"),
            Stage("held", "held = [[torch.zeros_like(p) for p in parameters] for rank in range(2)]"),
            Stage("numbers", "for number in range(2):"),
            Stage("ranks", "for rank in range(2):", 1),
            Stage("unpack", "inputs, target = micro_batches(batch, 4)[2 * rank + number]", 2),
            Stage("forward", f"loss = loss_fn({forward(traced)}, target) / 2", 2),
            Stage("backward", "add_gradients(held[rank], loss, parameters)", 2),
            Stage("reduce", "if number == 1:\n    held = averaged(held)", 1),
            Stage("give", "give_gradients(parameters, held[0])"),
            Stage("step", "optimizer.step()"),
            Stage("result", "return loss"),
        )
    )


def _uneven(traced: TracedCase) -> Training:
    """Micro-batches with unequal numbers of samples, or of targets that count."""
    weight = "counted(inputs, target) / counted(*batch)"
    uneven = _accumulation(traced).rewritten("split", "for inputs, target in uneven_micro_batches(batch):")
    return uneven.rewritten("forward", f"loss = loss_fn({forward(traced)}, target) * ({weight})")


def _clip(traced: TracedCase) -> Stage:
    return Stage("clip", f"torch.nn.utils.clip_grad_norm_(model.parameters(), {limit(traced)})")


def _clipping(traced: TracedCase) -> Training:
    return _plain(traced).inserted(_clip(traced), after="backward")


def _clipped_accumulation(traced: TracedCase) -> Training:
    return _accumulation(traced).inserted(_clip(traced), before="step")


def _scaling(traced: TracedCase) -> Training:
    """A loss scaler, and clipping of what it has scaled back."""
    scaler = f'scaler = torch.amp.GradScaler("{device(traced)}", init_scale=2.0**16)'
    scaled = _plain(traced).rewritten("backward", "scaler.scale(loss).backward()").rewritten("step", "scaler.step(optimizer)")
    scaled = scaled.inserted(Stage("unscale", "scaler.unscale_(optimizer)"), before="step").inserted(_clip(traced), before="step")
    return Training(scaled.inserted(Stage("update", "scaler.update()"), after="step").step, (), (scaler,))


def _half(traced: TracedCase) -> Training:
    """A loss so small that its gradients need a scale in half precision."""
    small = _plain(traced).rewritten("forward", f"loss = {small_weight(traced)} * loss_fn({forward(traced)}, target)  # a small term")
    scaled = small.rewritten("backward", "(2.0**16 * loss).backward()")
    scaled = scaled.inserted(Stage("half", "round_gradients(model, torch.float16)  # what half precision leaves of them"), before="step")
    return scaled.inserted(Stage("unscale", "scale_gradients(model, 2.0**-16)"), before="step")


def _autocast(traced: TracedCase) -> Training:
    plain = _plain(traced).rewritten("forward", f"output = {forward(traced)}")
    plain = plain.inside("forward", "forward", Stage("autocast", _autocast_line(traced)))
    return plain.inserted(Stage("loss", "loss = loss_fn(in_float32(output), target)"), after="forward")


def _cast(traced: TracedCase) -> Training:
    """Matrices are rounded to bfloat16 for the forward pass, by casts that the gradient passes through."""
    inputs = "(), inputs" if isinstance(traced.case.batch[0], Mapping) else "inputs"
    plain = _plain(traced).rewritten("forward", f"loss = loss_fn(torch.func.functional_call(model, casts, {inputs}), target)")
    return plain.inserted(Stage("cast", "casts = cast_matrices(model, torch.bfloat16)"), before="forward")


def _updates(traced: TracedCase) -> Training:
    """Two updates in one step, each with an autocast of its own."""
    plain = _plain(traced).rewritten("forward", f"output = {forward(traced)}")
    plain = plain.inside("forward", "forward", Stage("autocast", _autocast_line(traced)))
    plain = plain.inserted(Stage("loss", "loss = loss_fn(in_float32(output), target)"), after="forward")
    return plain.without("unpack").inside("zero_grad", "step", Stage("split", "for inputs, target in micro_batches(batch, 2):"))


def _autocast_line(traced: TracedCase) -> str:
    return f'with torch.autocast("{device(traced)}", torch.bfloat16):'


def _bfloat16(traced: TracedCase) -> Training:
    return Training(_plain(traced).step, ("round_weights(model, torch.bfloat16)  # a checkpoint in bfloat16",))


def _penalty(traced: TracedCase) -> Training:
    taken = "torch.autograd.grad(loss, list(model.parameters()), create_graph=True, allow_unused=True)"
    if any(not parameter.requires_grad for parameter in traced.case.model.parameters()):
        taken = taken.replace("list(model.parameters())", "[p for p in model.parameters() if p.requires_grad]")
    penalised = _plain(traced).inserted(Stage("slopes", f"slopes = {taken}"), after="forward")
    return penalised.inserted(Stage("penalty", "loss = loss + 0.1 * sum((g * g).sum() for g in slopes if g is not None)"), after="slopes")


def _schedule(traced: TracedCase) -> Training:
    scheduler = "scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)"
    return Training(_plain(traced).inserted(Stage("schedule", "scheduler.step()"), after="step").step, (), (scheduler,))


def _two_losses(traced: TracedCase) -> Training:
    """The loss of another player is passed through the same model first, for other parameters than these."""
    other = Stage("other", f"(-0.5 * loss_fn({forward(traced)}, target)).backward()  # for another player's parameters")
    return _plain(traced).inserted(other, after="unpack")


_LOOPS = {
    PLAIN: _plain,
    "accumulation": _accumulation,
    "uneven": _uneven,
    "epoch": _epoch,
    "ranks": _ranks,
    "clipping": _clipping,
    "clipped-accumulation": _clipped_accumulation,
    "scaling": _scaling,
    "half": _half,
    "autocast": _autocast,
    "cast": _cast,
    "updates": _updates,
    "bfloat16": _bfloat16,
    "penalty": _penalty,
    "schedule": _schedule,
    "two-losses": _two_losses,
}
