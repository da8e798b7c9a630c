"""detector:grad-norm-below-eps: a correct case (model): false alarm.
1 parameters: gradient norm below 1e-08
l0_key.bias
"""
import torch
from torch import nn
from torch.nn import functional as F


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.l0_query = nn.Linear(1, 1)
        self.l0_key = nn.Linear(1, 1)
        self.l0_value = nn.Linear(1, 1)
        self.l0_out = nn.Linear(1, 1)
        self.h0 = nn.Linear(1, 1)

    def forward(self, x0):
        v0 = self.l0_query(x0)
        v1 = self.l0_key(x0)
        v2 = self.l0_value(x0)
        v3 = F.scaled_dot_product_attention(v0, v1, v2)
        v4 = self.l0_out(v3)
        v5 = v4.mean(1)
        v6 = self.h0(v5)
        return v6


def loss_fn(output, target):
    return F.mse_loss(output, target)


torch.manual_seed(40)
model = Model()
inputs = (torch.randn(3, 2, 1),)
target = torch.randn(3, 1)
trainable = ('l0_query.weight', 'l0_query.bias', 'l0_key.weight', 'l0_key.bias', 'l0_value.weight', 'l0_value.bias', 'l0_out.weight', 'l0_out.bias', 'h0.weight', 'h0.bias')
intended = {}

loss_fn(model(*inputs), target).backward()
print({name: None if t.grad is None else float(t.grad.norm()) for name, t in model.named_parameters()})
