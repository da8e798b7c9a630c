"""engines: bypass-node at l0_input (recurrence): gradient.
norm of l0_state.weight 0.4316902995114745 against 0.4316903340296478
norm_ratio of l0_state.weight 0.9341390657848496 against 0.9341391404790789
checksum of l0_state.weight -0.4316903054714203 against -0.4316903352737427
"""
import torch
from torch import nn

def identity(value):
    return value.clone(memory_format=torch.contiguous_format)

aten = torch.ops.aten
torch.manual_seed(0)
model = nn.Module()
model.l0_input = nn.Linear(1, 1)
model.l0_state = nn.Linear(1, 1, bias=False)
model.h0 = nn.Linear(1, 1)
model.h1 = nn.Linear(1, 1)
model.h2 = nn.Linear(1, 1)
inputs, target = (torch.randn(3, 2, 1),), (torch.randn(3, 1), torch.randn(3, 1), torch.randn(3, 1))

def training_step(broken, p, b):
    if broken:
        l0_input = identity(inputs[0])  # <-- the break
    else:
        l0_input = aten.linear(inputs[0], p["l0_input.weight"], p["l0_input.bias"])
    unbind = aten.unbind(l0_input, 1)
    tanh = aten.tanh.default(unbind[0])
    l0_state = aten.linear(tanh, p["l0_state.weight"])
    add = aten.add.Tensor(unbind[1], l0_state)
    tanh_1 = aten.tanh.default(add)
    stack = aten.stack([tanh, tanh_1], 1)
    dropout = aten.dropout(stack, 0.0, True)
    mean = aten.mean.dim(dropout, [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    mean_1 = aten.mean.dim(stack, [1])
    h1 = aten.linear(mean_1, p["h1.weight"], p["h1.bias"])
    mean_2 = aten.mean.dim(dropout, [1])
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
