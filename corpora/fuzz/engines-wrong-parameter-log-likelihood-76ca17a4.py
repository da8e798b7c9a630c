"""engines: wrong-parameter at h0 (log_likelihood): gradient.
norm of h1.bias 0.5204040824777652 against 0.595671155728355
Mended: a parameter that a mutant uses more often got the gradient of one use.
"""
import torch
from torch import nn

aten = torch.ops.aten
torch.manual_seed(0)
model = nn.ModuleDict({"h0": nn.Linear(1, 3), "h1": nn.Linear(1, 3)})
inputs, target = (torch.randn(3, 2, 1),), (torch.randint(0, 3, (3,)), torch.randint(0, 3, (3,)))

def training_step(broken, p, b):
    mean = aten.mean.dim(inputs[0], [1])
    if broken:
        h0 = aten.linear(mean, p["h1.weight"], p["h1.bias"])  # <-- the break
    else:
        h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    mean_1 = aten.mean.dim(inputs[0], [1])
    h1 = aten.linear(mean_1, p["h1.weight"], p["h1.bias"])
    loss_log_softmax = aten.log_softmax(h0, 1)
    loss_nll_loss_nd = aten.nll_loss_nd(loss_log_softmax, target[0])
    loss_log_softmax_1 = aten.log_softmax(h1, 1)
    loss_nll_loss_nd_1 = aten.nll_loss_nd(loss_log_softmax_1, target[1])
    return aten.add.Tensor(loss_nll_loss_nd, loss_nll_loss_nd_1)

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
