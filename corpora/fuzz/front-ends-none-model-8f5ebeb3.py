"""front-ends: a correct case (model): symbolic_trace differs.
e0.weight has a gradient of norm 0.168 here and none in Python
torch.fx.symbolic_trace does not see torch.no_grad(): the traced module computes that region with gradients"""
import torch
import torch.fx
from torch import nn
from torch.nn import functional as F


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.e0 = nn.Embedding(5, 1)
        self.h0 = nn.Linear(1, 1)

    def forward(self, x0):
        v0 = self.e0(x0)
        with torch.no_grad():
            v1 = torch.tanh(v0)
        v2 = v1.mean(1)
        v3 = self.h0(v2)
        return v3


def loss_fn(output, target):
    return F.mse_loss(output, target)


torch.manual_seed(0)
model = Model()
inputs = (torch.randint(0, 5, (3, 2)),)
target = torch.randn(3, 1)
trainable = ('h0.weight', 'h0.bias')
intended = {'e0.weight': 'behind a stop-gradient'}

for step in (model, torch.fx.symbolic_trace(model)):
    model.zero_grad()
    torch.manual_seed(0)
    loss_fn(step(*inputs), target).backward()
    print({name: None if t.grad is None else float(t.grad.norm()) for name, t in model.named_parameters()})
