"""A variational autoencoder: a sample by reparameterisation, and a loss of reconstruction and divergence."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case


class VAE(nn.Module):
    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, 24), nn.ReLU(), nn.Linear(24, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, 24), nn.ReLU(), nn.Linear(24, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        sample = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        return self.decoder(sample), mean, log_variance


def loss(output: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
    reconstruction, mean, log_variance = output
    divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).mean()
    return nn.functional.mse_loss(reconstruction, target) + divergence


def case() -> Case:
    data = torch.randn(16, 12)
    return Case(VAE(12, 4), ((data,), data), loss)
