"""engines: a correct case (model): RuntimeError in direct.py:pull.
RuntimeError: shape '[1]' is invalid for input of size 6
Mended: between two autograd nodes the engine adds up what was broadcast.
"""
import torch
from torch import nn
from torch.nn import functional as F


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.l0 = nn.PReLU()
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
trainable = ('l0.weight', 'h0.weight', 'h0.bias')
intended = {}

loss_fn(model(*inputs), target).backward()
print({name: None if t.grad is None else float(t.grad.norm()) for name, t in model.named_parameters()})
