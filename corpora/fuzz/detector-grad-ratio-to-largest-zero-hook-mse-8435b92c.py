"""detector:grad-ratio-to-largest: zero-hook at h0 (mse): dead: zero.
dead (cut): h0.weight is zero, h0.bias is zero"""
import torch
from torch import nn

def zero_hook(value):
    result = value.view_as(value)
    if result.requires_grad:
        result.register_hook(torch.zeros_like)
    return result

aten = torch.ops.aten
torch.manual_seed(0)
model = nn.ModuleDict({"h0": nn.Linear(1, 1)})
inputs, target = (torch.randn(3, 2, 1),), torch.randn(3, 1)

def training_step(broken, p, b):
    mean = aten.mean.dim(inputs[0], [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    h0__zero_hook = zero_hook(h0) if broken else h0  # <-- the break
    return aten.mse_loss(*aten.broadcast_tensors([h0__zero_hook, target]))

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
