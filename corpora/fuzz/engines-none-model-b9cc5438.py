"""engines: a correct case (model): TypeError in direct.py:pull.
TypeError: expected 3 arguments, got 1 instead
Mended: autograd nodes with outputs that nobody reads were called with too few arguments.
"""
import torch
from torch import nn
from torch.nn import functional as F


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.l0_fit = nn.Linear(1, 2)
        self.l0 = nn.GroupNorm(1, 2)
        self.h0 = nn.Linear(2, 1)

    def forward(self, x0):
        v0 = self.l0_fit(x0)
        v1 = v0.transpose(1, 2)
        v2 = self.l0(v1)
        v3 = v2.transpose(1, 2)
        v4 = v3.mean(1)
        v5 = self.h0(v4)
        return v5


def loss_fn(output, target):
    return F.mse_loss(output, target)


torch.manual_seed(0)
model = Model()
inputs = (torch.randn(3, 2, 1),)
target = torch.randn(3, 1)
trainable = ('l0_fit.weight', 'l0_fit.bias', 'l0.weight', 'l0.bias', 'h0.weight', 'h0.bias')
intended = {}

loss_fn(model(*inputs), target).backward()
print({name: None if t.grad is None else float(t.grad.norm()) for name, t in model.named_parameters()})
