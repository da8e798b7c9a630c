"""detector:grad-none: freeze-parameter at h0.weight (mse): dead: missing.
dead (cut): h0.weight is missing"""
import torch
from torch import nn

aten = torch.ops.aten
torch.manual_seed(0)
model = nn.ModuleDict({"h0": nn.Linear(1, 1)})
inputs, target = (torch.randn(3, 2, 1),), torch.randn(3, 1)

def training_step(broken, p, b):
    mean = aten.mean.dim(inputs[0], [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    return aten.mse_loss(*aten.broadcast_tensors([h0, target]))

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    if broken:
        p["h0.weight"].requires_grad_(False)  # <-- the break
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
