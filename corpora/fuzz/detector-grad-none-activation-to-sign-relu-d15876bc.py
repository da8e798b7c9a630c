"""detector:grad-none: activation-to-sign at relu (relu): dead: zero.
dead (flat): e0.weight is zero, h0.weight is zero"""
import torch
from torch import nn

def sign(value):
    return torch.sign(value)

aten = torch.ops.aten
torch.manual_seed(0)
model = nn.ModuleDict({"e0": nn.Embedding(5, 1), "h0": nn.Linear(1, 1)})
inputs, target = (torch.randint(0, 5, (3, 2)),), torch.randn(3, 1)

def training_step(broken, p, b):
    e0 = aten.embedding(p["e0.weight"], inputs[0])
    if broken:
        relu = sign(e0)  # <-- the break
    else:
        relu = aten.relu(e0)
    mean = aten.mean.dim(relu, [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    return aten.mse_loss(*aten.broadcast_tensors([h0, target]))

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
