"""detector:grad-none: insert-detach at mean (mse): altered: biased.
altered (biased): e0.weight has 1.36 of its norm, cosine 0.179"""
import torch
from torch import nn

def each(function, value):
    return type(value)((each(function, item) for item in value)) if isinstance(value, (tuple, list)) else function(value)

def detach(value):
    return each(torch.Tensor.detach, value)

aten = torch.ops.aten
torch.manual_seed(0)
model = nn.ModuleDict({"e0": nn.Embedding(5, 1), "h0": nn.Linear(1, 1), "h1": nn.Linear(1, 1)})
inputs, target = (torch.randint(0, 5, (3, 2)),), (torch.randn(3, 1), torch.randn(3, 1))

def training_step(broken, p, b):
    e0 = aten.embedding(p["e0.weight"], inputs[0])
    mean = aten.mean.dim(e0, [1])
    mean__detach = detach(mean) if broken else mean  # <-- the break
    h0 = aten.linear(mean__detach, p["h0.weight"], p["h0.bias"])
    mean_1 = aten.mean.dim(e0, [1])
    h1 = aten.linear(mean_1, p["h1.weight"], p["h1.bias"])
    loss_mse_loss = aten.mse_loss(*aten.broadcast_tensors([h0, target[0]]))
    loss_mse_loss_1 = aten.mse_loss(*aten.broadcast_tensors([h1, target[1]]))
    return aten.add.Tensor(loss_mse_loss, loss_mse_loss_1)

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
