"""detector:torcheck: detach-parameter at l0_state.weight->l0_state (recurrence): altered: biased.
altered (biased): l0_state.weight has 0.424 of its norm, cosine 1
"""
import torch
from torch import nn

def each(function, value):
    return type(value)((each(function, item) for item in value)) if isinstance(value, (tuple, list)) else function(value)

def detach(value):
    return each(torch.Tensor.detach, value)

aten = torch.ops.aten
torch.manual_seed(0)
model = nn.ModuleDict({"l0_input": nn.Linear(1, 1), "l0_state": nn.Linear(1, 1, bias=False), "h0": nn.Linear(1, 1)})
inputs, target = (torch.randn(3, 3, 1),), torch.randn(3, 1)

def training_step(broken, p, b):
    l0_input = aten.linear(inputs[0], p["l0_input.weight"], p["l0_input.bias"])
    unbind = aten.unbind(l0_input, 1)
    tanh = aten.tanh.default(unbind[0])
    l0_state_weight__detach = detach(p["l0_state.weight"]) if broken else p["l0_state.weight"]  # <-- the break
    l0_state = aten.linear(tanh, l0_state_weight__detach)
    add = aten.add.Tensor(unbind[1], l0_state)
    tanh_1 = aten.tanh.default(add)
    l0_state_1 = aten.linear(tanh_1, p["l0_state.weight"])
    add_1 = aten.add.Tensor(unbind[2], l0_state_1)
    tanh_2 = aten.tanh.default(add_1)
    stack = aten.stack([tanh, tanh_1, tanh_2], 1)
    mean = aten.mean.dim(stack, [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    return aten.mse_loss(*aten.broadcast_tensors([h0, target]))

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
