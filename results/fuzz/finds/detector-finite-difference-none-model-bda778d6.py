"""detector:finite-difference: a correct case (model): false alarm.
autograd's slope over 4 parameters is not that of the loss
"""
import torch
from torch import nn
from torch.nn import functional as F


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.l0 = nn.Linear(1, 1)
        self.l0.requires_grad_(False)
        self.h0 = nn.Linear(1, 1)

    def forward(self, x0):
        v0 = self.l0(x0)
        v1 = v0.mean(1)
        v2 = self.h0(v1)
        return v2


def loss_fn(output, target):
    return F.mse_loss(output, target)


torch.manual_seed(0)
model = Model()
inputs = (torch.randn(3, 2, 1),)
target = torch.randn(3, 1)
trainable = ('h0.weight', 'h0.bias')
intended = {'l0.weight': 'frozen', 'l0.bias': 'frozen'}

loss_fn(model(*inputs), target).backward()
print({name: None if t.grad is None else float(t.grad.norm()) for name, t in model.named_parameters()})
