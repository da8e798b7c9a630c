"""The plain kinds of layer, the plainest first: linear, elementwise, joins of two values, and normalisations."""

from __future__ import annotations

from collections.abc import Callable

from gradfuzz.fuzzing.architecture import Layer
from gradfuzz.fuzzing.kinds import Write, fitted, kind, linear
from gradfuzz.fuzzing.writing import Value, Writer, aten
from gradfuzz.graph.program import Ref

CUDNN = False  # the argument `cudnn_enabled` of normalisations, as torch.export has it


@kind("linear", weights=True, tie=True)
def _linear(w: Writer, layer: Layer, x: Value) -> Value:
    return linear(w, x, layer.width)


def _elementwise(text: str, target: Callable[..., object], *args: object) -> Write:
    return lambda w, layer, x: w.let(text.format(x), target, x, *args)


PLAIN: tuple[tuple[str, str, Callable[..., object], tuple[object, ...]], ...] = (
    ("relu", "torch.relu({})", aten.relu.default, ()),
    ("tanh", "torch.tanh({})", aten.tanh.default, ()),
    ("scale", "{} * 0.5", aten.mul.Tensor, (0.5,)),
    ("sigmoid", "torch.sigmoid({})", aten.sigmoid.default, ()),
    ("leaky_relu", "F.leaky_relu({})", aten.leaky_relu.default, ()),
    ("gelu", "F.gelu({})", aten.gelu.default, ()),
    ("silu", "F.silu({})", aten.silu.default, ()),
    ("elu", "F.elu({})", aten.elu.default, (1.0,)),
    ("softplus", "F.softplus({})", aten.softplus.default, ()),
    ("hardswish", "F.hardswish({})", aten.hardswish.default, ()),
    ("flip", "{}.flip(1)", aten.flip.default, ([1],)),
    ("softmax", "torch.softmax({}, 1)", aten.softmax.int, (1,)),
    ("cumulative", "{}.cumsum(1)", aten.cumsum.default, (1,)),
    ("dropout", "F.dropout({}, 0.25)", aten.dropout.default, (0.25, True)),
    ("passed_on", "F.dropout({}, 0.0)", aten.dropout.default, (0.0, True)),
)
for _name, _text, _target, _args in PLAIN:
    kind(_name)(_elementwise(_text, _target, *_args))


@kind("relu_in_place")
def _relu_in_place(w: Writer, layer: Layer, x: Value) -> Value:
    shifted = w.let(f"{x} + 0.5", aten.add.Tensor, x, 0.5)
    return w.let(f"F.relu_({shifted})", aten.relu.default, shifted)


@kind("detach")
def _detach(w: Writer, layer: Layer, x: Value) -> Value:
    return w.let(f"{x}.detach()", aten.detach.default, x, stop=True)


@kind("no_grad")
def _no_grad(w: Writer, layer: Layer, x: Value) -> Value:
    w.forward.append("with torch.no_grad():")
    w.grad = False
    value = w.let(f"torch.tanh({x})", aten.tanh.default, x)
    w.grad = True
    return value


@kind("straight_through")
def _straight_through(w: Writer, layer: Layer, x: Value) -> Value:
    rounded = w.let(f"torch.round({x})", aten.round.default, x)
    apart = w.let(f"{rounded} - {x}", aten.sub.Tensor, rounded, x)
    held = w.let(f"{apart}.detach()", aten.detach.default, apart, stop=True)
    return w.let(f"{x} + {held}", aten.add.Tensor, x, held)


@kind("centre")
def _centre(w: Writer, layer: Layer, x: Value) -> Value:
    mean = w.let(f"{x}.mean(1, keepdim=True)", aten.mean.dim, x, [1], True)
    return w.let(f"{x} - 0.5 * {mean}", aten.sub.Tensor, x, w.let("", aten.mul.Tensor, mean, 0.5))


@kind("square")
def _square(w: Writer, layer: Layer, x: Value) -> Value:
    return w.let(f"{x} * {x}", aten.mul.Tensor, x, x)


def _joined(text: str, target: Callable[..., object]) -> Write:
    def write(w: Writer, layer: Layer, x: Value, y: Value) -> Value:
        y = fitted(w, y, x.width)
        return w.let(text.format(x, y), target, x, y)

    return write


kind("residual", reads=2, weights=True)(_joined("{} + {}", aten.add.Tensor))
kind("product", reads=2, weights=True)(_joined("{} * {}", aten.mul.Tensor))
kind("maximum", reads=2, weights=True)(_joined("torch.maximum({}, {})", aten.maximum.default))


@kind("block", weights=True)
def _block(w: Writer, layer: Layer, x: Value) -> Value:
    """A residual block: x + f(tanh(g(x)))."""
    inner = linear(w, x, layer.width, "up")
    outer = linear(w, w.let(f"torch.tanh({inner})", aten.tanh.default, inner), x.width, "down")
    return w.let(f"{x} + {outer}", aten.add.Tensor, x, outer)


@kind("concat", reads=2)
def _concat(w: Writer, layer: Layer, x: Value, y: Value) -> Value:
    return w.let(f"torch.cat([{x}, {y}], 2)", aten.cat.default, [x, y], 2, width=x.width + y.width)


@kind("gate", reads=2, weights=True)
def _gate(w: Writer, layer: Layer, x: Value, y: Value) -> Value:
    opened = w.let(f"torch.sigmoid({(y := fitted(w, y, x.width))})", aten.sigmoid.default, y)
    return w.let(f"{x} * {opened}", aten.mul.Tensor, x, opened)


@kind("split", weights=True)
def _split(w: Writer, layer: Layer, x: Value) -> Value:
    """Two halves that change places."""
    both = linear(w, x, 2 * layer.width)
    a, b = w.parts("a b", both, f"{both}.chunk(2, 2)", aten.chunk.default, 2, 2, width=layer.width)
    return w.let(f"torch.cat([{b}, {a}], 2)", aten.cat.default, [b, a], 2, width=2 * layer.width)


@kind("glu", weights=True)
def _glu(w: Writer, layer: Layer, x: Value) -> Value:
    both = linear(w, x, 2 * layer.width)
    a, b = w.parts("a b", both, f"{both}.chunk(2, 2)", aten.chunk.default, 2, 2, width=layer.width)
    opened = w.let(f"torch.sigmoid({b})", aten.sigmoid.default, b)
    return w.let(f"{a} * {opened}", aten.mul.Tensor, a, opened)


@kind("prelu", weights=True)
def _prelu(w: Writer, layer: Layer, x: Value) -> Value:
    name = w.module("nn.PReLU()", "weight")
    return w.apply(name, "activation.PReLU", aten.prelu.default, x, w.parameter(f"{name}.weight"))


@kind("layer_norm", weights=True)
def _layer_norm(w: Writer, layer: Layer, x: Value) -> Value:
    x = fitted(w, x, max(x.width, 3))  # of fewer features nothing is left to learn from
    name = w.module(f"nn.LayerNorm({x.width})", "weight", "bias")
    both = [w.parameter(f"{name}.{which}") for which in ("weight", "bias")]
    return w.apply(name, "normalization.LayerNorm", aten.layer_norm.default, x, [x.width], *both, 1e-05, CUDNN)


def turned(w: Writer, x: Value) -> Value:
    """(batch, tokens, width) to (batch, width, tokens), and back."""
    return w.let(f"{x}.transpose(1, 2)", aten.transpose.int, x, 1, 2)


@kind("batch_norm", weights=True)
def _batch_norm(w: Writer, layer: Layer, x: Value) -> Value:
    name = w.module(f"nn.BatchNorm1d({x.width})", "weight", "bias", buffers=("running_mean", "running_var"))
    x = turned(w, x)
    leaves = [
        *(w.parameter(f"{name}.{which}") for which in ("weight", "bias")),
        *(Ref(f"buffer:{name}.{b}") for b in ("running_mean", "running_var")),
    ]
    return turned(w, w.apply(name, "batchnorm.BatchNorm1d", aten.batch_norm.default, x, *leaves, True, 0.1, 1e-05, CUDNN))


@kind("group_norm", weights=True)
def _group_norm(w: Writer, layer: Layer, x: Value) -> Value:
    x = fitted(w, x, max(x.width, 2))
    name = w.module(f"nn.GroupNorm(1, {x.width})", "weight", "bias")
    both = [w.parameter(f"{name}.{which}") for which in ("weight", "bias")]
    x = turned(w, x)
    return turned(w, w.apply(name, "normalization.GroupNorm", aten.group_norm.default, x, 1, *both, 1e-05, CUDNN))
