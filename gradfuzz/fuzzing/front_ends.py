"""One architecture through four front-ends: Python, the written program, torch.export, torch.fx.symbolic_trace. Gradients must agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, fx

from gradfuzz.errors import Refused
from gradfuzz.fuzzing.finding import Problem
from gradfuzz.fuzzing.session import Session
from gradfuzz.graph.capture import capture
from gradfuzz.graph.execution import EXPECTED, first_line, run_pass
from gradfuzz.graph.trace import norm
from gradfuzz.isolation import isolated
from gradfuzz.subjects.case import Case

Gradients = dict[str, Tensor | None]
SLIGHT = 1e-5  # relative distance: two orders of summation in float32
NO_GRAD = "torch.fx.symbolic_trace does not see torch.no_grad(): the traced module computes that region with gradients"


def disagreements(session: Session) -> Iterable[Problem]:
    """Each front-end whose gradients are not eager's."""
    traced = session.traced
    expected = eager(session.architecture.case(), traced.seed)
    for name, front_end in (("written", _written), ("export", _export), ("symbolic_trace", _symbolic)):
        try:
            found = front_end(session)
        except (Refused, *EXPECTED) as error:
            yield Problem(f"{name} raises", (first_line(error),))
            continue
        apart = list(_apart(expected, found))
        if apart:
            known = name == "symbolic_trace" and any(layer.kind == "no_grad" for layer in session.architecture.layers)
            yield Problem(f"{name} differs", tuple(apart[:3]), NO_GRAD if known else "")
    yield from _other_program(session)


def eager(case: Case, seed: int) -> Gradients:
    """As Python runs it."""
    with isolated(seed):
        return _gradients(case, case.model)


def _gradients(case: Case, model: Callable[..., object]) -> Gradients:
    case.loss_fn(model(*case.batch[0]), case.batch[1]).backward()
    return {name: parameter.grad for name, parameter in case.model.named_parameters()}


def _written(session: Session) -> Gradients:
    return session.traced.reference.gradients


def _export(session: Session) -> Gradients:
    traced, case = session.traced, session.architecture.case()
    with isolated(traced.seed):
        captured = capture(case)
    done = run_pass(captured.program, captured.leaves, {}, seed=traced.seed)
    if done.stage:
        raise Refused(f"the exported program raises in {done.stage}: {done.error}")
    return done.gradients


def _symbolic(session: Session) -> Gradients:
    case = session.architecture.case()
    graph: fx.GraphModule = fx.symbolic_trace(case.model)
    with isolated(session.traced.seed):
        return _gradients(case, graph)


def _apart(expected: Gradients, found: Gradients) -> Iterable[str]:
    largest = max((norm(gradient) for gradient in expected.values() if gradient is not None), default=0.0)
    for name, gradient in expected.items():
        other = found.get(name)
        if gradient is None or other is None:
            if gradient is not other:
                present = gradient if other is None else other
                size = norm(present) if present is not None else 0.0
                yield f"{name} has a gradient of norm {size:.3g} {'here and none' if gradient is None else 'not here, but'} in Python"
        elif norm(gradient - other) > SLIGHT * max(norm(gradient), 1e-3 * largest):
            yield f"the gradients of {name} differ by {norm(gradient - other) / max(norm(gradient), 1e-30):.1e}"


def _other_program(session: Session) -> Iterable[Problem]:
    """The written program is the exported one, call by call."""
    exported = capture(session.architecture.case()).program
    ours, theirs = ([(i.name, i.target, i.args, i.grad, i.stop) for i in p.instructions] for p in (session.traced.program, exported))
    for own, other in zip(ours, theirs, strict=False):
        if own != other:
            yield Problem("written otherwise", (f"{other[0]} is {other[1]}{other[2]}, written as {own[0]} {own[1]}{own[2]}",))
            return
    if len(ours) != len(theirs):
        yield Problem("written otherwise", (f"{len(theirs)} calls are exported, {len(ours)} written",))


__all__ = ["disagreements", "eager"]
