"""engines: a correct case (model): obstacle.
taken in pieces, the gradient of e0.weight is not autograd's to the bit
"""
import torch
from torch import nn
from torch.nn import functional as F


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.e0 = nn.Embedding(5, 1)
        self.h0 = nn.Linear(1, 1)
        self.h1 = nn.Linear(1, 1)
        self.h2 = nn.Linear(1, 1)

    def forward(self, x0):
        v0 = self.e0(x0)
        v1 = F.dropout(v0, 0.0)
        v2 = v0.mean(1)
        v3 = self.h0(v2)
        v4 = v0.mean(1)
        v5 = self.h1(v4)
        v6 = v1.mean(1)
        v7 = self.h2(v6)
        return v3, v5, v7


def loss_fn(output, target):
    v11 = F.mse_loss(output[0], target[0])
    v15 = F.mse_loss(output[1], target[1])
    v16 = v11 + v15
    v20 = F.mse_loss(output[2], target[2])
    return v16 + v20


torch.manual_seed(0)
model = Model()
inputs = (torch.randint(0, 5, (3, 2)),)
target = (torch.randn(3, 1), torch.randn(3, 1), torch.randn(3, 1))
trainable = ('e0.weight', 'h0.weight', 'h0.bias', 'h1.weight', 'h1.bias', 'h2.weight', 'h2.bias')
intended = {}

loss_fn(model(*inputs), target).backward()
print({name: None if t.grad is None else float(t.grad.norm()) for name, t in model.named_parameters()})
