"""The generator's loss also leaves gradients in the discriminator, which are cleared before its own step and never used."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Batch, Case

RECORD = {
    "id": "devnag-14-generator-step-fills-the-discriminator",
    "source": "https://github.com/devnag/pytorch-generative-adversarial-networks/issues/14",
    "year": 2020,
    "summary": "A reader asks whether the generator's update trains the discriminator, as nothing is detached. The optimizer of the"
    " generator holds only its own weights and the discriminator is cleared before its turn, so it does not.",
    "part": "loop",
    "mechanism": "undetached-loss-of-other-network",
    "measured": {},
}


def case() -> Case:
    generator = nn.Linear(3, 4)
    generator_optimizer = torch.optim.SGD(generator.parameters(), lr=0.01)

    def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        (x,), target = batch
        real, noise = x[:8], x[8:, :3]
        optimizer.zero_grad()
        shown = torch.cat([real, generator(noise).detach()])
        loss = nn.functional.binary_cross_entropy_with_logits(model(shown), target)
        loss.backward()
        optimizer.step()
        generator_optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(generator(noise)), torch.ones(8, 1)).backward()
        generator_optimizer.step()
        return loss

    discriminator = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
    target = torch.cat([torch.ones(8, 1), torch.zeros(8, 1)])
    return Case(discriminator, (torch.randn(16, 4), target), nn.functional.binary_cross_entropy_with_logits, train_step=train_step)
