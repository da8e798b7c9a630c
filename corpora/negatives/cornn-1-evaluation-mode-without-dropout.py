"""The model stays in evaluation mode after a test, and has no layer that would behave differently."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case

RECORD = {
    "id": "cornn-1-evaluation-mode-without-dropout",
    "source": "https://github.com/tk-rusch/coRNN/issues/1",
    "year": 2020,
    "summary": "A reader of coRNN found that train() is never called again after eval(). The author answers that the network has neither"
    " dropout nor batch norm, so training is not affected.",
    "part": "loop",
    "mechanism": "evaluation-mode-left-on",
    "measured": {},
}


class CoupledOscillators(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drive, self.readout = nn.Linear(2 + 6 + 6, 6), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:  # (time, batch, 2)
        position = velocity = x.new_zeros(x.shape[1], 6)
        for frame in x:
            force = torch.tanh(self.drive(torch.cat([frame, position, velocity], dim=1)))
            velocity = velocity + 0.1 * (force - position - velocity)
            position = position + 0.1 * velocity
        return self.readout(position)


def case() -> Case:
    return Case(CoupledOscillators().eval(), (torch.randn(8, 10, 2), torch.randn(10, 1)), nn.functional.mse_loss)
