"""detector:finite-difference-blocks: activation-to-sign at loss_softplus (margin): dead: zero.
dead (flat): h0.weight is zero, h0.bias is zero
"""
import torch
from torch import nn

def sign(value):
    return torch.sign(value)

aten = torch.ops.aten
torch.manual_seed(0)
model = nn.ModuleDict({"h0": nn.Linear(1, 1)})
inputs, target = (torch.randn(3, 2, 1),), torch.randn(3, 1)

def training_step(broken, p, b):
    mean = aten.mean.dim(inputs[0], [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    loss_mul = aten.mul.Tensor(h0, target)
    if broken:
        loss_softplus = sign(loss_mul)  # <-- the break
    else:
        loss_softplus = aten.softplus(loss_mul)
    return aten.mean.default(loss_softplus)

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
