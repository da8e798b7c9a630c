"""The backbone's own classifier is replaced by a new one outside and stays, unused, in the model and in the optimizer."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "person-reid-90-unused-layer-in-the-optimizer",
    "source": "https://github.com/layumi/Person_reID_baseline_pytorch/issues/90",
    "year": 2018,
    "summary": "ft_net calls the layers of a ResNet one by one and leaves out its fc, which the optimizer nevertheless lists. The author"
    " agrees that it is never used and that training is not affected.",
    "part": "optimizer",
    "mechanism": "optimizer-holds-unused-layer",
    "measured": {"backbone.fc.weight": "missing", "backbone.fc.bias": "missing"},
}


class ReIdentification(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.ModuleDict({"conv": nn.Conv2d(3, 6, 3), "fc": nn.Linear(6, 10)})
        self.classifier = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.backbone["conv"](x))
        return self.classifier(hidden.mean((2, 3)))


def case() -> Case:
    intended = {"backbone.fc": "the classifier of the pretrained network, not used"}
    return Case(ReIdentification(), (torch.randn(8, 3, 6, 6), torch.randint(0, 4, (8,))), nn.functional.cross_entropy, intended=intended)
