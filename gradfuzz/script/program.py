"""The parts of a script about a training program that are the same for every mutant, up to a word."""

from __future__ import annotations

from gradfuzz.script.sections import STATE

RUN = '''
# ---- two steps of each, seen as the optimizer sees them ----

torch.use_deterministic_algorithms(True, warn_only=True)
torch.utils.deterministic.fill_uninitialized_memory = False
trained = {{"model": model, "batch": (inputs, target)}}


def find(model, name):
    """The tensor that a parameter's name leads to, registered or not."""
    found = model
    for word in name.split("."):
        if isinstance(found, (list, tuple)):
            found = found[int(word)]
        else:
            found = found.get(word) if isinstance(found, dict) else getattr(found, word, None)
    return found


def gradient_of(tensor):
    return tensor.grad.detach().clone() if tensor is not None and tensor.is_leaf and tensor.grad is not None else None


def stage_of(error):
    """Where in a step something was raised."""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.name in ("backward", "grad") and frame.filename.endswith(("_tensor.py", "autograd/__init__.py")):
            return "backward"
        if "/torch/optim/" in frame.filename or "/torch/amp/" in frame.filename or frame.filename.endswith("clip_grad.py"):
            return "step"
    return "forward"


def run(program):
    """The losses that the steps returned, the looks (gradients and weights before every update), the weights after, and the stage that
    raised if one did."""
    parts = copy.deepcopy(trained)
    {reseed}
    model, batch, losses, looks, stage = parts["model"], parts["batch"], [], [], ""

    def weights():
        return {{name: None if (found := find(model, name)) is None else found.detach().clone() for name in LIVE}}

    def look(*_):
        looks.append(({{name: gradient_of(find(model, name)) for name in LIVE}}, weights()))

    try:
        model, batch, optimizer, train_step = program(model, batch)
    except (RuntimeError, ValueError, TypeError) as error:  # the optimizer refuses the parameters; gradients can be looked at all the same
        print(f"the optimizer raised {{type(error).__name__}}: {{error}}", file=sys.stderr)
        stage, optimizer = "optimizer", None
    {reseed}
    handle = register_optimizer_step_pre_hook(look)
    try:
        for _ in range(1 if stage else 2):
            before = len(looks)
            if stage:
                inputs, target = batch
                loss = loss_fn(model(**inputs) if isinstance(inputs, dict) else model(*inputs), target)
                loss.backward()
            else:
                loss = train_step(model, optimizer, batch)
            losses.append(float(loss.detach()))
            if len(looks) == before:
                look()
    except (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError, AttributeError, AssertionError) as error:
        stage = stage_of(error)
        print(f"{{stage}} raised {{type(error).__name__}}: {{error}}", file=sys.stderr)
    finally:
        handle.remove()
        torch.set_grad_enabled(True)
    return losses, looks, weights(), stage
'''

COMPARISON = (
    """
# ---- what became of the gradients, or else of the updates ----
"""
    + STATE
    + """

def equal(one, other):
    return one is not None and other is not None and torch.equal(one, other)


def way(name, looks, last):
    start = looks[0][1][name]
    return None if start is None or last[name] is None else last[name] - start


right_losses, right_looks, right_last, right_stage = run(right)
assert not right_stage, "the right program raised"
losses, looks, last, stage = run(broken)

states = {{}}
for number, (mine, other) in enumerate(zip(looks, right_looks)):
    together = all(equal(mine[1][name], other[1][name]) for name in LIVE)
    if number and not together:
        break
    states = {{name: word for name in LIVE if (word := state(mine[0][name], other[0][name])) != "same"}}
    if states or not together:
        break

if not states and not stage:  # the gradients are intact, so look at the weights: at those that parted first
    mine, other = [look[1] for look in looks] + [last], [look[1] for look in right_looks] + [right_last]
    parted = next((p for a, b in zip(mine, other) if (p := [name for name in LIVE if not equal(a[name], b[name])])), [])
    for name in parted:
        went, should = way(name, looks, last), way(name, right_looks, right_last)
        size = norm(should)
        if size and (went is None or norm(went - should) > {difference} * size):
            part = 0.0 if went is None else float((went * should).sum(dtype=torch.float64)) / size**2
            states[name] = "stuck" if part < {moved} else "altered"

loss = losses[0] if losses else math.nan
found = {{word: [name for name in LIVE if states.get(name) == word] for word in
         ("missing", "zero", "nonfinite", "vanished", "altered", "stuck")}}
if stage in ("forward", "backward", "step"):
    effect = "invalid" if stage == "forward" else "raises"
elif found["nonfinite"] or not math.isfinite(loss):
    effect = "nonfinite"
elif found["missing"] or found["zero"]:
    effect = "dead"
else:
    effect = next((word for word in ("vanished", "stuck", "altered") if found[word]), "equivalent")
print(json.dumps({{"loss": loss, "effect": effect, **found}}))
"""
)
