"""ZFNet, the AlexNet with finer eyes that won ILSVRC 2013."""

from __future__ import annotations

from torch import Tensor, nn


class ZFNet(nn.Module):
    """The network of Zeiler and Fergus (2013), for RGB images of 224 px.

    Parameters
    ----------
    num_classes : int, default=1000
        Number of outputs of ``head``.

    Attributes
    ----------
    stem, stage1, stage2, stage3, stage4 : torch.nn.Sequential
        The five convolutions: 7x7 by 2 and 5x5 by 2, each with pooling and contrast
        normalisation; 3x3 with 384, 384 and 256 maps; pooling.
    fc6, fc7 : torch.nn.Sequential
        The hidden layers, with dropout.
    head : torch.nn.Linear
        The classifier.

    References
    ----------
    .. [1] M. D. Zeiler and R. Fergus, "Visualizing and understanding convolutional
       networks", arXiv:1311.2901, 2013.

    Examples
    --------
    >>> import torch
    >>> from sktl.backbones._zfnet import ZFNet
    >>> ZFNet(num_classes=5)(torch.zeros(1, 3, 224, 224)).shape
    torch.Size([1, 5])
    """

    def __init__(self, num_classes: int = 1000):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.LocalResponseNorm(5),
        )
        self.stage1 = nn.Sequential(
            nn.Conv2d(96, 256, 5, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.LocalResponseNorm(5),
        )
        self.stage2 = nn.Sequential(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU())
        self.stage3 = nn.Sequential(nn.Conv2d(384, 384, 3, padding=1), nn.ReLU())
        self.stage4 = nn.Sequential(
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2)
        )
        # 6x6 already at 224 px; the pooling lets other sizes through.
        self.pool = nn.AdaptiveAvgPool2d(6)
        self.fc6 = nn.Sequential(
            nn.Flatten(), nn.Linear(256 * 36, 4096), nn.ReLU(), nn.Dropout()
        )
        self.fc7 = nn.Sequential(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout())
        self.head = nn.Linear(4096, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores of a batch ``(n, 3, height, width)``."""
        x = self.stem(x)
        x = self.stage1(x)
        x = self.stage2(x)
        x = self.stage3(x)
        x = self.stage4(x)
        x = self.pool(x)
        x = self.fc6(x)
        x = self.fc7(x)
        return self.head(x)
