"""The kinds of layer that are made of several calls: convolutions, attention, recurrence."""

from __future__ import annotations

from functools import partial

from gradfuzz.fuzzing.architecture import Layer
from gradfuzz.fuzzing.kinds import kind, linear
from gradfuzz.fuzzing.plain import turned
from gradfuzz.fuzzing.writing import Value, Writer, aten


@kind("conv1d", weights=True, tie=True)
def _conv1d(w: Writer, layer: Layer, x: Value) -> Value:
    name = w.module(f"nn.Conv1d({x.width}, {layer.width}, 3, padding=1)", "weight", "bias")
    both = [w.parameter(f"{name}.{which}") for which in ("weight", "bias")]
    x = turned(w, x)
    return turned(w, w.apply(name, "conv.Conv1d", aten.conv1d.default, x, *both, [1], [1], width=layer.width))


@kind("conv2d", weights=True, tie=True)
def _conv2d(w: Writer, layer: Layer, x: Value) -> Value:
    """The tokens and features as an image with one channel."""
    name = w.module(f"nn.Conv2d(1, {layer.width}, 3, padding=1)", "weight", "bias")
    both = [w.parameter(f"{name}.{which}") for which in ("weight", "bias")]
    image = w.let(f"{x}.unsqueeze(1)", aten.unsqueeze.default, x, 1)
    image = w.apply(name, "conv.Conv2d", aten.conv2d.default, image, *both, [1, 1], [1, 1])
    return w.let(f"{image}.mean(1)", aten.mean.dim, image, [1])


def _attend(w: Writer, layer: Layer, x: Value, y: Value, fused: bool) -> Value:
    width = layer.width
    query, key, value = linear(w, x, width, "query"), linear(w, y, width, "key"), linear(w, y, width, "value")
    if fused:
        form = f"F.scaled_dot_product_attention({query}, {key}, {value})"
        mixed = w.let(form, aten.scaled_dot_product_attention.default, query, key, value)
    else:
        scores = w.let(f"{query} @ {turned(w, key)}", aten.matmul.default, query, Value(w.instructions[-1].name, 0))
        weights = w.let(f"torch.softmax({scores}, 2)", aten.softmax.int, scores, 2)
        mixed = w.let(f"{weights} @ {value}", aten.matmul.default, weights, value, width=width)
    return linear(w, mixed, x.width, "out")


@kind("attention", weights=True)
def _attention(w: Writer, layer: Layer, x: Value) -> Value:
    return _attend(w, layer, x, x, fused=False)


@kind("fused_attention", weights=True)
def _fused_attention(w: Writer, layer: Layer, x: Value) -> Value:
    return _attend(w, layer, x, x, fused=True)


kind("cross_attention", reads=2, weights=True)(partial(_attend, fused=False))


@kind("recurrence", weights=True)
def _recurrence(w: Writer, layer: Layer, x: Value) -> Value:
    """An Elman cell over the tokens, written out."""
    drive = linear(w, x, layer.width, "input")
    tokens = w.architecture.tokens
    steps = w.parts(" ".join(["t"] * tokens), drive, f"{drive}.unbind(1)", aten.unbind.int, 1, width=layer.width)
    state = w.let(f"torch.tanh({steps[0]})", aten.tanh.default, steps[0])
    states = [state]
    name = w.module(f"nn.Linear({layer.width}, {layer.width}, bias=False)", "weight", part="state")
    for step in steps[1:]:
        state = w.apply(name, "linear.Linear", aten.linear.default, state, w.parameter(f"{name}.weight"))
        state = w.let(f"{step} + {state}", aten.add.Tensor, step, state)
        state = w.let(f"torch.tanh({state})", aten.tanh.default, state)
        states.append(state)
    return w.let(f"torch.stack([{', '.join(map(str, states))}], 1)", aten.stack.default, states, 1, width=layer.width)


@kind("gated_recurrence", weights=True)
def _gated_recurrence(w: Writer, layer: Layer, x: Value) -> Value:
    """A cell whose state is kept or renewed by a gate, over the tokens, written out."""
    drive, gates = linear(w, x, layer.width, "input"), linear(w, x, layer.width, "gate")
    opened = w.let(f"torch.sigmoid({gates})", aten.sigmoid.default, gates)
    state: Value | None = None
    states: list[Value] = []
    for token in range(w.architecture.tokens):
        new = w.let(f"{drive}.select(1, {token})", aten.select.int, drive, 1, token)
        gate = w.let(f"{opened}.select(1, {token})", aten.select.int, opened, 1, token)
        fresh = w.let(f"{gate} * {new}", aten.mul.Tensor, gate, new)
        if state is not None:
            kept = w.let(f"(1 - {gate}) * {state}", aten.mul.Tensor, w.let("", aten.rsub.Scalar, gate, 1), state)
            fresh = w.let(f"{kept} + {fresh}", aten.add.Tensor, kept, fresh)
        state = fresh
        states.append(state)
    return w.let(f"torch.stack([{', '.join(map(str, states))}], 1)", aten.stack.default, states, 1, width=layer.width)
