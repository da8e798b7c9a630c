"""The generator's backward also fills the discriminator's gradients, which are not cleared before the discriminator's own step."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "lightning-591-generator-loss-left-in-discriminator",
    "source": "https://github.com/Lightning-AI/pytorch-lightning/issues/591",
    "year": 2019,
    "summary": "The trainer cleared only the gradients of the optimizer that had just stepped. What the generator loss leaves in the"
    " discriminator is added to the discriminator loss, with the opposite aim; GANs did not train.",
    "part": "loop",
    "level": "step",
    "mechanism": "gradients-of-other-loss-kept",
    "effect": "altered",
    "cause": "biased",
    "cause_by": "measured",
    "faithful": False,
    "measured": {"0.weight": "altered", "0.bias": "altered", "2.weight": "altered", "2.bias": "altered"},
    "stuck": [],
    "silent": True,
    "loss_same": True,
}


def build(bug: bool) -> Case:
    generator = nn.Linear(3, 4)
    generator_optimizer = torch.optim.SGD(generator.parameters(), lr=0.01)

    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        real, noise = x[:8], x[8:, :3]
        ones = torch.ones(8, 1)
        nn.functional.binary_cross_entropy_with_logits(model(generator(noise)), ones).backward()
        generator_optimizer.step()
        generator_optimizer.zero_grad()
        if not bug:
            optimizer.zero_grad()
        shown = torch.cat([real, generator(noise).detach()])
        loss = nn.functional.binary_cross_entropy_with_logits(model(shown), target)
        loss.backward()
        optimizer.step()
        return loss

    discriminator = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    target = torch.cat([torch.ones(8, 1), torch.zeros(8, 1)])
    return Case(discriminator, (torch.randn(16, 4), target), nn.functional.binary_cross_entropy_with_logits, train_step=train_step)


def buggy() -> Case:
    return build(True)


def fixed() -> Case:
    return build(False)
