"""engines: bypass-node at loss_mul (margin): gradient.
norm of l0.bias 0.8424748215464529 against 0.8424748922959172
norm_ratio of l0.bias 0.7208522766895453 against 0.7208523372253751
cosine of l0.bias 1.0 against 0.9999999866063453
"""
import torch
from torch import nn

def identity(value):
    return value.clone(memory_format=torch.contiguous_format)

aten = torch.ops.aten
torch.manual_seed(31)
model = nn.ModuleDict({"l0": nn.Linear(1, 1), "h0": nn.Linear(1, 1), "h1": nn.Linear(1, 3), "h2": nn.Linear(1, 1)})
inputs, target = (torch.randn(3, 2, 1),), (torch.randn(3, 1), torch.randint(0, 3, (3,)), torch.randn(3, 1))

def training_step(broken, p, b):
    l0 = aten.linear(inputs[0], p["l0.weight"], p["l0.bias"])
    dropout = aten.dropout(l0, 0.0, True)
    mean = aten.mean.dim(dropout, [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    mean_1 = aten.mean.dim(l0, [1])
    h1 = aten.linear(mean_1, p["h1.weight"], p["h1.bias"])
    mean_2 = aten.mean.dim(dropout, [1])
    h2 = aten.linear(mean_2, p["h2.weight"], p["h2.bias"])
    loss_mse_loss = aten.mse_loss(*aten.broadcast_tensors([h0, target[0]]))
    loss_cross_entropy_loss = aten.cross_entropy_loss(h1, target[1])
    loss_add = aten.add.Tensor(loss_mse_loss, loss_cross_entropy_loss)
    if broken:
        loss_mul = identity(h2)  # <-- the break
    else:
        loss_mul = aten.mul.Tensor(h2, target[2])
    loss_softplus = aten.softplus(loss_mul)
    loss_mean = aten.mean.default(loss_softplus)
    return aten.add.Tensor(loss_add, loss_mean)

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
