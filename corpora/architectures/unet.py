"""Two scales with a skip connection and bilinear upsampling: one image to another."""

import torch
from torch import Tensor, nn

from gradfuzz.subjects.case import Case


def block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU())


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = block(3, 8), block(8, 16), block(16, 16)
        self.up2, self.up1, self.head = block(16 + 16, 8), block(8 + 8, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.down1(x)
        low = self.down2(nn.functional.max_pool2d(high, 2))
        bottom = self.bottom(nn.functional.max_pool2d(low, 2))
        low = self.up2(torch.cat([self.grow(bottom), low], dim=1))
        return self.head(self.up1(torch.cat([self.grow(low), high], dim=1)))

    @staticmethod
    def grow(x: Tensor) -> Tensor:
        return nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def case() -> Case:
    return Case(UNet(), ((torch.randn(2, 3, 16, 16),), torch.randn(2, 2, 16, 16)), nn.functional.mse_loss)
