"""detector:overfits-one-batch: wrong-custom-backward at e0 (embedding): dead: zero.
dead (cut): e0.weight is zero
"""
import torch
from torch import nn

class WrongBackward(torch.autograd.Function):

    @staticmethod
    def forward(ctx, value, how):
        ctx.how = how
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient):
        wrong = {'zeros': torch.zeros_like(gradient), 'none': None, 'doubled': 2 * gradient, 'negated': -gradient}
        return (wrong[ctx.how], None)

def wrong_backward(value, how):
    return WrongBackward.apply(value, how)

aten = torch.ops.aten
torch.manual_seed(0)
model = nn.ModuleDict({"e0": nn.Embedding(5, 1), "h0": nn.Linear(1, 1)})
inputs, target = (torch.randint(0, 5, (3, 2)),), torch.randn(3, 1)

def training_step(broken, p, b):
    e0 = aten.embedding(p["e0.weight"], inputs[0])
    e0__wrong_backward = wrong_backward(e0, "zeros") if broken else e0  # <-- the break
    mean = aten.mean.dim(e0__wrong_backward, [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    return aten.mse_loss(*aten.broadcast_tensors([h0, target]))

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
