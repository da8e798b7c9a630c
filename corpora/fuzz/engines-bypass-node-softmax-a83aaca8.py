"""engines: bypass-node at softmax (softmax): gradient.
norm of l0.weight 0.5301304970536996 against 0.5301305532706517
norm_ratio of l0.weight 0.9444677144372777 against 0.9444678145920444
distance of l0.weight 0.03117030849231358 against 0.031170248735223425
"""
import torch
from torch import nn

def identity(value):
    return value.clone(memory_format=torch.contiguous_format)

aten = torch.ops.aten
torch.manual_seed(0)
model = nn.ModuleDict({"l0": nn.Linear(1, 1), "h0": nn.Linear(1, 1), "h1": nn.Linear(1, 1), "h2": nn.Linear(1, 1)})
inputs, target = (torch.randn(3, 2, 1),), (torch.randn(3, 1), torch.randn(3, 1), torch.randn(3, 1))

def training_step(broken, p, b):
    l0 = aten.linear(inputs[0], p["l0.weight"], p["l0.bias"])
    dropout = aten.dropout(l0, 0.0, True)
    if broken:
        softmax = identity(dropout)  # <-- the break
    else:
        softmax = aten.softmax(dropout, 1)
    mean = aten.mean.dim(dropout, [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    mean_1 = aten.mean.dim(l0, [1])
    h1 = aten.linear(mean_1, p["h1.weight"], p["h1.bias"])
    mean_2 = aten.mean.dim(softmax, [1])
    h2 = aten.linear(mean_2, p["h2.weight"], p["h2.bias"])
    loss_mse_loss = aten.mse_loss(*aten.broadcast_tensors([h0, target[0]]))
    loss_mse_loss_1 = aten.mse_loss(*aten.broadcast_tensors([h1, target[1]]))
    loss_add = aten.add.Tensor(loss_mse_loss, loss_mse_loss_1)
    loss_mse_loss_2 = aten.mse_loss(*aten.broadcast_tensors([h2, target[2]]))
    return aten.add.Tensor(loss_add, loss_mse_loss_2)

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
