"""The parts of a script that are the same for every mutant, up to a word."""

from __future__ import annotations

_GLOBALS = """
    LIVE SEED aten b_0 c eager_gradients eager_loss effect error found generator_states gradients inputs json largest loss loss_fn math
    model name norm one_pass p_0 result rewind right_gradients right_loss stage state states sys target torch training_step
"""
GLOBALS = frozenset(_GLOBALS.split())
"""Names that no helper may take."""

DEVICE = """
model.to({device})
inputs, target = torch.utils._pytree.tree_map(lambda item: item.to({device}) if isinstance(item, torch.Tensor) else item, (inputs, target))
"""

START = """
torch.use_deterministic_algorithms(True, warn_only=True)
torch.utils.deterministic.fill_uninitialized_memory = False
p_0 = {name: tensor.detach().clone().requires_grad_(tensor.requires_grad) for name, tensor in model.named_parameters()}
b_0 = {name: tensor.detach().clone() for name, tensor in model.named_buffers(remove_duplicate=False)}
""".strip()

EAGER = """
# ---- the model and the loss as their authors wrote them, before anything is broken ----

{reseed}
result = loss_fn({call}, target)
result.backward()
eager_loss = float(result.detach())
eager_gradients = {{name: tensor.grad for name, tensor in model.named_parameters()}}
"""

REWIND = '''
generator_states = {{}}


def rewind(name):
    """Before a call that draws random numbers: let the broken step draw the very ones that the right step drew there."""
    if name in generator_states:
        {generator}.set_rng_state(generator_states[name])
    else:
        generator_states[name] = {generator}.get_rng_state()
'''

PASS = '''
def one_pass(broken):
    """Loss, gradients, and the stage that raised if one did."""
    p = {{name: tensor.detach().clone().requires_grad_(tensor.requires_grad) for name, tensor in p_0.items()}}
    b = {{name: tensor.clone() for name, tensor in b_0.items()}}
{edits}    {reseed}
    loss, stage = math.nan, "forward"
    try:
        result = training_step(broken, p, b)
        loss, stage = float(result.detach()), "backward"
        result.backward()
    except Exception as error:
        print(f"{{stage}} raised {{type(error).__name__}}: {{error}}", file=sys.stderr)
        return loss, {{}}, stage
    return loss, {{name: tensor.grad for name, tensor in p.items()}}, ""
'''

STATE = '''
def norm(tensor):
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))


def state(gradient, right):
    """One word for a gradient, against the right one."""
    if gradient is None:
        return "missing"
    if torch.equal(gradient, right):
        return "same"
    if not math.isfinite(norm(gradient)) or not gradient.isfinite().all():
        return "nonfinite"
    if norm(gradient) == 0:
        return "zero"
    if norm(gradient) / norm(right) < {vanished}:
        return "vanished"
    return "same" if norm(gradient - right) <= {same} * norm(right) else "altered"
'''

COMPARISON = (
    """
# ---- what became of the gradients ----
"""
    + STATE
    + """

right_loss, right_gradients, stage = one_pass(broken=False)
largest = max(norm(gradient) for gradient in eager_gradients.values() if gradient is not None)
assert not stage, "the right step raised"
assert abs(right_loss - eager_loss) <= 1e-4 * max(abs(eager_loss), 1e-12), "the step is not the model"
for name in LIVE:
    error = norm(right_gradients[name] - eager_gradients[name])
    assert error <= 1e-3 * max(norm(eager_gradients[name]), 1e-3 * largest), f"the step has another gradient of {{name}}"

loss, gradients, stage = one_pass(broken=True)
states = {{name: state(gradients[name], right_gradients[name]) for name in LIVE}} if not stage else {{}}
found = {{word: [name for name in LIVE if states.get(name) == word] for word in ({states})}}
if stage:
    effect = "invalid" if stage == "forward" else "raises"
elif found["nonfinite"] or not math.isfinite(loss):
    effect = "nonfinite"
elif found["missing"] or found["zero"]:
    effect = "dead"
else:
    effect = "vanished" if found["vanished"] else "altered" if found["altered"] else "equivalent"
print(json.dumps({{"loss": loss, "effect": effect, **found}}))
"""
)
