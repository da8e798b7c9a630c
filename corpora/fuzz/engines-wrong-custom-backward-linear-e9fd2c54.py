"""engines: wrong-custom-backward at l0 (linear): gradient.
norm of l0.weight 0.40664626015927824 against 0.4066463151253322
Mended: twice a cotangent was taken for a multiple of it, though it lies in memory in another order.
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
model = nn.ModuleDict({"l0": nn.Linear(1, 1), "h0": nn.Linear(2, 1)})
inputs, target = (torch.randn(3, 2, 1),), torch.randn(3, 1)

def training_step(broken, p, b):
    l0 = aten.linear(inputs[0], p["l0.weight"], p["l0.bias"])
    l0__wrong_backward = wrong_backward(l0, "doubled") if broken else l0  # <-- the break
    cat = aten.cat([inputs[0], l0__wrong_backward], 2)
    mean = aten.mean.dim(cat, [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    return aten.mse_loss(*aten.broadcast_tensors([h0, target]))

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
