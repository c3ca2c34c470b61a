"""Pocket, the bundled backbone for natural images."""

from __future__ import annotations

from torch import Tensor, nn


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        shortcut: list[nn.Module] = []
        if stride > 1:
            # Averaging sees every pixel, a strided 1x1 convolution one in four.
            # `ceil_mode` matches the convolution at odd sizes.
            shortcut.append(nn.AvgPool2d(stride, ceil_mode=True))
        if in_channels != channels:
            shortcut.append(nn.Conv2d(in_channels, channels, 1, bias=False))
            shortcut.append(nn.BatchNorm2d(channels))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both paths, rectified."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + self.shortcut(x))


class Pocket(nn.Module):
    """A small residual network of plain 3x3 convolutions.

    Parameters
    ----------
    num_classes : int, default=200
        Number of outputs of ``head``.
    widths : tuple of int, default=(32, 64, 160, 224)
        Channels of the four stages.
    depths : tuple of int, default=(1, 2, 2, 2)
        Blocks of the four stages.
    embedding : int, default=512
        Channels after the 1x1 convolution that closes ``stage4``.

    Attributes
    ----------
    stem, stage1, stage2, stage3, stage4, pool : torch.nn.Sequential
        The stages, in order. The map halves in ``stem`` and in stages 2 to 4;
        ``pool`` returns the embedding, ``(n, embedding)``.
    head : torch.nn.Linear
        The classifier.

    Examples
    --------
    >>> import torch
    >>> from sktl.backbones._pocket import Pocket
    >>> Pocket()(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 200])
    """

    def __init__(
        self,
        num_classes: int = 200,
        *,
        widths: tuple[int, ...] = (32, 64, 160, 224),
        depths: tuple[int, ...] = (1, 2, 2, 2),
        embedding: int = 512,
    ):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, 2, 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        channels = widths[0]
        stages = []
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            blocks: list[nn.Module] = []
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(_Block(channels, width, stride))
                channels = width
            stages.append(blocks)
        # The blocks end narrow, because width costs; a linear head on few features
        # costs accuracy. One 1x1 convolution on the smallest map widens cheaply.
        stages[-1] += [
            nn.Conv2d(channels, embedding, 1, bias=False),
            nn.BatchNorm2d(embedding),
            nn.ReLU(inplace=True),
        ]
        self.stage1, self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(*blocks) for blocks in stages
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(embedding, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores of a batch ``(n, 3, height, width)``."""
        x = self.stem(x)
        x = self.stage1(x)
        x = self.stage2(x)
        x = self.stage3(x)
        x = self.stage4(x)
        x = self.pool(x)
        return self.head(x)
