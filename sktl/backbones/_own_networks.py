"""The architectures that come with sktl.

Each is a sequence of stages, named like those of every other backbone, and a ``head``.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import Tensor, nn


class LeNet5(nn.Sequential):
    """LeNet-5 in the shape of LeCun et al. (1998), with today's activations.

    The layers and their widths are those of the paper: C1 (6 maps) and S2, C3 (16
    maps) and S4, C5 (120 maps), F6 (84 units) and ten outputs. What differs: rectified
    linear units after batch normalisation instead of scaled tanh, max pooling
    instead of trainable averages, C3 connected to all maps of S2, and a linear
    output layer instead of radial basis functions.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning
       applied to document recognition", Proc. IEEE 86(11), 1998.
    """

    def __init__(self, num_classes: int = 10):
        def convolution(in_channels: int, channels: int) -> list[nn.Module]:
            return [
                nn.Conv2d(in_channels, channels, 5, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]

        super().__init__(
            OrderedDict(
                stem=nn.Sequential(*convolution(1, 6), nn.MaxPool2d(2)),
                stage1=nn.Sequential(*convolution(6, 16), nn.MaxPool2d(2)),
                stage2=nn.Sequential(*convolution(16, 120)),
                # At the native 32 px the map is 1x1 already and the pooling does
                # nothing; it makes larger images fit.
                fc6=nn.Sequential(
                    nn.AdaptiveAvgPool2d(1),
                    nn.Flatten(),
                    nn.Linear(120, 84),
                    nn.ReLU(inplace=True),
                ),
                head=nn.Linear(84, num_classes),
            )
        )


class ZFNet(nn.Sequential):
    """The network of Zeiler and Fergus (2013) for RGB images of 224 px.

    AlexNet with smaller filters and strides; it won ILSVRC 2013. ``stem`` and
    ``stage1`` have pooling and contrast normalisation, ``fc6`` and ``fc7`` dropout.

    References
    ----------
    .. [1] M. D. Zeiler and R. Fergus, "Visualizing and understanding convolutional
       networks", arXiv:1311.2901, 2013.
    """

    def __init__(self, num_classes: int = 1000):
        def after(convolution: nn.Conv2d) -> list[nn.Module]:
            pool = nn.MaxPool2d(3, stride=2, padding=1)
            return [convolution, nn.ReLU(), pool, nn.LocalResponseNorm(5)]

        super().__init__(
            OrderedDict(
                stem=nn.Sequential(*after(nn.Conv2d(3, 96, 7, stride=2, padding=1))),
                stage1=nn.Sequential(*after(nn.Conv2d(96, 256, 5, stride=2))),
                stage2=nn.Sequential(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
                stage3=nn.Sequential(nn.Conv2d(384, 384, 3, padding=1), nn.ReLU()),
                stage4=nn.Sequential(
                    nn.Conv2d(384, 256, 3, padding=1),
                    nn.ReLU(),
                    nn.MaxPool2d(3, stride=2),
                ),
                # 6x6 already at 224 px; the pooling makes other sizes fit.
                pool=nn.AdaptiveAvgPool2d(6),
                fc6=nn.Sequential(
                    nn.Flatten(), nn.Linear(256 * 36, 4096), nn.ReLU(), nn.Dropout()
                ),
                fc7=nn.Sequential(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()),
                head=nn.Linear(4096, num_classes),
            )
        )


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


class Pocket(nn.Sequential):
    """A small residual network of plain 3x3 convolutions.

    The map halves in ``stem`` and in stages 2 to 4; ``pool`` returns the embedding.

    The four stages have ``widths`` channels and ``depths`` blocks; a 1x1 convolution
    with ``embedding`` channels closes ``stage4``.
    """

    def __init__(
        self,
        num_classes: int = 200,
        *,
        widths: tuple[int, ...] = (32, 64, 160, 224),
        depths: tuple[int, ...] = (1, 2, 2, 2),
        embedding: int = 512,
    ):
        stages: dict[str, list[nn.Module]] = {
            "stem": [
                nn.Conv2d(3, widths[0], 3, 2, 1, bias=False),
                nn.BatchNorm2d(widths[0]),
                nn.ReLU(inplace=True),
            ]
        }
        channels = widths[0]
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True), 1):
            stages[f"stage{i}"] = []
            for j in range(depth):
                stride = 2 if i > 1 and j == 0 else 1
                stages[f"stage{i}"].append(_Block(channels, width, stride))
                channels = width
        # The blocks end narrow, because width costs; a linear head on few features
        # costs accuracy. One 1x1 convolution on the smallest map widens cheaply.
        stages["stage4"] += [
            nn.Conv2d(channels, embedding, 1, bias=False),
            nn.BatchNorm2d(embedding),
            nn.ReLU(inplace=True),
        ]
        stages["pool"] = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        named = {name: nn.Sequential(*layers) for name, layers in stages.items()}
        super().__init__(OrderedDict(**named, head=nn.Linear(embedding, num_classes)))


class _SameConv2d(nn.Conv2d):
    """A convolution of stride 2 padded as TensorFlow does it.

    TensorFlow's "same" padding is one less in front of an even side than behind it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the map at half the size, rounded up."""
        most = self.kernel_size[0] // 2
        top, left = (most - 1 + side % 2 for side in x.shape[-2:])
        return super().forward(nn.functional.pad(x, (left, most, top, most)))


def _convolution(
    in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Return a convolution without bias whose map has the size of its input."""
    kind, padding = (_SameConv2d, 0) if stride == 2 else (nn.Conv2d, kernel // 2)
    return kind(
        in_channels, channels, kernel, stride, padding, groups=groups, bias=False
    )


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _InvertedResidual(nn.Module):
    """A narrow input widened, filtered in each channel alone, and narrowed again."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int, stride: int, expansion: int
    ):
        super().__init__()
        wide = in_channels * expansion
        self.widens = expansion > 1
        if self.widens:
            self.expand_conv = _convolution(in_channels, wide, 1)
            self.bn0 = _norm(wide)
        self.depthwise_conv = _convolution(wide, wide, kernel, stride, groups=wide)
        self.bn1 = _norm(wide)
        self.project_conv = _convolution(wide, channels, 1)
        self.bn2 = _norm(channels)
        self.act = nn.ReLU6(inplace=True)
        self.has_shortcut = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the narrow map, added to the input where their shapes are equal."""
        y = self.act(self.bn0(self.expand_conv(x))) if self.widens else x
        y = self.act(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return x + y if self.has_shortcut else y


class EfficientNetLite(nn.Sequential):
    """EfficientNet without squeeze-and-excitation, with ReLU6: fast on any processor.

    The seven groups of blocks are ``depth`` times as deep and ``width`` times as wide
    as those of Lite0; the stem, the last convolution and the first and the last group
    keep their depth.

    References
    ----------
    .. [1] M. Tan and Q. V. Le, "EfficientNet: rethinking model scaling for
       convolutional neural networks", ICML 2019.
    """

    # Blocks, kernel, stride, expansion and channels of each group of Lite0.
    GROUPS = (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    )

    def __init__(self, width: float = 1.0, depth: float = 1.0, num_classes: int = 1000):
        blocks: list[nn.Module] = []
        lengths, channels = [], 32
        for i, (n_blocks, kernel, stride, expansion, n) in enumerate(self.GROUPS):
            if 0 < i < len(self.GROUPS) - 1:
                n_blocks = math.ceil(depth * n_blocks)
            for _ in range(n_blocks):
                wider = _multiple_of_8(width * n)
                blocks.append(
                    _InvertedResidual(channels, wider, kernel, stride, expansion)
                )
                channels, stride = wider, 1
            lengths.append(n_blocks)
        super().__init__(
            OrderedDict(
                conv_stem=_convolution(3, 32, 3, stride=2),
                bn0=_norm(32),
                act0=nn.ReLU6(inplace=True),
                blocks=nn.Sequential(*blocks),
                conv_head=_convolution(channels, 1280, 1),
                bn1=_norm(1280),
                act1=nn.ReLU6(inplace=True),
                pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
                head=nn.Linear(1280, num_classes),
            )
        )
        self.lengths = tuple(lengths)


def _multiple_of_8(channels: float) -> int:
    """Return the nearest multiple of 8 that is not below 90 percent of ``channels``."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8
