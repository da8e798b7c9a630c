"""detector:finite-difference-trainable: detach-parameter at l1_query.weight->l1_query (fused_attention): dead: missing.
dead (cut): l1_query.weight is missing
"""
import torch
from torch import nn

def each(function, value):
    return type(value)((each(function, item) for item in value)) if isinstance(value, (tuple, list)) else function(value)

def detach(value):
    return each(torch.Tensor.detach, value)

aten = torch.ops.aten
torch.manual_seed(0)
model = nn.Module()
model.l0 = nn.Linear(1, 1)
model.l1_query = nn.Linear(1, 2)
model.l1_key = nn.Linear(1, 2)
model.l1_value = nn.Linear(1, 2)
model.l1_out = nn.Linear(2, 1)
model.h0 = nn.Linear(1, 1)
inputs, target = (torch.randn(3, 2, 1),), torch.randn(3, 1)

def training_step(broken, p, b):
    l0 = aten.linear(inputs[0], p["l0.weight"], p["l0.bias"])
    l1_query_weight__detach = detach(p["l1_query.weight"]) if broken else p["l1_query.weight"]  # <-- the break
    l1_query = aten.linear(l0, l1_query_weight__detach, p["l1_query.bias"])
    l1_key = aten.linear(l0, p["l1_key.weight"], p["l1_key.bias"])
    l1_value = aten.linear(l0, p["l1_value.weight"], p["l1_value.bias"])
    scaled_dot_product_attention = aten.scaled_dot_product_attention(l1_query, l1_key, l1_value)
    l1_out = aten.linear(scaled_dot_product_attention, p["l1_out.weight"], p["l1_out.bias"])
    mean = aten.mean.dim(l1_out, [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    return aten.mse_loss(*aten.broadcast_tensors([h0, target]))

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
