"""engines: clamp-to-narrow-range at add (block): gradient.
norm of l0.bias 0.5368437231454544 against 0.5368437786594141
norm_ratio of l0.bias 0.9639068913929968 against 0.9639069910687237
cosine of l0.bias 0.9998566386790304 against 0.9998566349615429
"""
import torch
from torch import nn

def clamped(value, low, high):
    return value.clamp(low, high)

aten = torch.ops.aten
torch.manual_seed(0)
model = nn.Module()
model.l0 = nn.BatchNorm1d(2)
model.l2_up = nn.Linear(2, 1)
model.l2_down = nn.Linear(1, 2)
model.h0 = nn.Linear(2, 1)
model.h1 = nn.Linear(2, 1)
inputs, target = (torch.randn(3, 4, 2),), (torch.randn(3, 1), torch.randn(3, 1))

def training_step(broken, p, b):
    transpose = aten.transpose(inputs[0], 1, 2)
    l0 = aten.batch_norm(transpose, p["l0.weight"], p["l0.bias"], b["l0.running_mean"], b["l0.running_var"], True, 0.1, 1e-05, False)
    transpose_1 = aten.transpose(l0, 1, 2)
    relu = aten.relu(transpose_1)
    l2_up = aten.linear(transpose_1, p["l2_up.weight"], p["l2_up.bias"])
    tanh = aten.tanh.default(l2_up)
    l2_down = aten.linear(tanh, p["l2_down.weight"], p["l2_down.bias"])
    add = aten.add.Tensor(transpose_1, l2_down)
    add__clamped = clamped(add, -0.001, 0.001) if broken else add  # <-- the break
    mean = aten.mean.dim(relu, [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    mean_1 = aten.mean.dim(add__clamped, [1])
    h1 = aten.linear(mean_1, p["h1.weight"], p["h1.bias"])
    loss_mse_loss = aten.mse_loss(*aten.broadcast_tensors([h0, target[0]]))
    loss_mse_loss_1 = aten.mse_loss(*aten.broadcast_tensors([h1, target[1]]))
    return aten.add.Tensor(loss_mse_loss, loss_mse_loss_1)

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
