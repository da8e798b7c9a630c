"""detector:torchmortem: a correct case (model): false alarm.
Weight norm explosion
h0.weight
h0.bias
"""
import torch
from torch import nn
from torch.nn import functional as F


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.h0 = nn.Linear(1, 1)

    def forward(self, x0):
        v0 = x0.mean(1)
        v1 = self.h0(v0)
        return v1


def loss_fn(output, target):
    return F.mse_loss(output, target)


torch.manual_seed(0)
model = Model()
inputs = (torch.randn(3, 2, 1),)
target = torch.randn(3, 1)
trainable = ('h0.weight', 'h0.bias')
intended = {}

loss_fn(model(*inputs), target).backward()
print({name: None if t.grad is None else float(t.grad.norm()) for name, t in model.named_parameters()})
