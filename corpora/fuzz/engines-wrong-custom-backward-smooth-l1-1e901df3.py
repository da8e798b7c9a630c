"""engines: wrong-custom-backward at mean_1 (smooth_l1): gradient.
norm of l0.bias 0.05144188158750002 against 0.05144187932445441
Mended: zeros that add nothing decide in which order a sum lies in memory.
"""
import torch
from torch import nn

class WrongBackward(torch.autograd.Function):

    @staticmethod
    def forward(ctx, value, how):
        ctx.how = how
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient):
        wrong = {'zeros': torch.zeros_like(gradient), 'none': None, 'doubled': 2 * gradient, 'negated': -gradient}
        return (wrong[ctx.how], None)

def wrong_backward(value, how):
    return WrongBackward.apply(value, how)

aten = torch.ops.aten
torch.manual_seed(40)
model = nn.ModuleDict({"l0": nn.BatchNorm1d(2), "h0": nn.Linear(2, 1), "h1": nn.Linear(2, 1)})
inputs, target = (torch.randn(3, 2, 2),), (torch.randn(3, 1), torch.randn(3, 1))

def training_step(broken, p, b):
    transpose = aten.transpose(inputs[0], 1, 2)
    l0 = aten.batch_norm(transpose, p["l0.weight"], p["l0.bias"], b["l0.running_mean"], b["l0.running_var"], True, 0.1, 1e-05, False)
    transpose_1 = aten.transpose(l0, 1, 2)
    relu = aten.relu(transpose_1)
    mean = aten.mean.dim(relu, [1])
    h0 = aten.linear(mean, p["h0.weight"], p["h0.bias"])
    mean_1 = aten.mean.dim(transpose_1, [1])
    mean_1__wrong_backward = wrong_backward(mean_1, "zeros") if broken else mean_1  # <-- the break
    h1 = aten.linear(mean_1__wrong_backward, p["h1.weight"], p["h1.bias"])
    loss_mse_loss = aten.mse_loss(*aten.broadcast_tensors([h0, target[0]]))
    loss_smooth_l1_loss = aten.smooth_l1_loss(*aten.broadcast_tensors([h1, target[1]]))
    return aten.add.Tensor(loss_mse_loss, loss_smooth_l1_loss)

for broken in (False, True):
    p = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in model.named_parameters()}
    training_step(broken, p, {n: t.clone() for n, t in model.named_buffers()}).backward()
    print({name: None if t.grad is None else [round(v, 6) for v in t.grad.flatten().tolist()] for name, t in p.items()})
