"""engines: scale-tiny at transpose (conv1d): gradient.
norm of e0.weight 3.8458551041016515e-31 against 3.845855067498782e-31
Mended: view_as gave dimensions of size one another stride.
"""
import torch
from torch import nn

def scaled(value, factor):
    return value * factor

aten = torch.ops.aten
torch.manual_seed(0)
model = nn.ModuleDict({"e0": nn.Embedding(5, 1), "l0": nn.Conv1d(1, 1, 3, padding=1), "h0": nn.Linear(1, 1)})
inputs, target = (torch.randint(0, 5, (3, 2)),), torch.randn(3, 1)

def training_step(broken, p, b):
    e0 = aten.embedding(p["e0.weight"], inputs[0])
    transpose = aten.transpose(e0, 1, 2)
    transpose__scaled = scaled(transpose, 1e-30) if broken else transpose  # <-- the break
    l0 = aten.conv1d.default(transpose__scaled, p["l0.weight"], p["l0.bias"], [1], [1])
    transpose_1 = aten.transpose(l0, 1, 2)
    mean = aten.mean.dim(transpose_1, [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    return aten.mse_loss(*aten.broadcast_tensors([h0, target]))

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
