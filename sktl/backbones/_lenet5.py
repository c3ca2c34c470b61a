"""LeNet-5, the bundled backbone for small grey images."""

from __future__ import annotations

from torch import Tensor, nn


class LeNet5(nn.Module):
    """LeNet-5 in the shape of LeCun et al. (1998), with today's activations.

    The layers and their widths are those of the paper: C1 (6 maps), S2, C3 (16
    maps), S4, C5 (120 maps), F6 (84 units) and ten outputs. What differs: rectified
    linear units after batch normalisation instead of scaled tanh, max pooling
    instead of trainable averages, C3 connected to all maps of S2, and a linear
    output layer instead of radial basis functions.

    Parameters
    ----------
    num_classes : int, default=10
        Number of outputs of ``head``.

    Attributes
    ----------
    stem, stage1, stage2 : torch.nn.Sequential
        C1 and S2; C3 and S4; C5.
    fc6 : torch.nn.Sequential
        F6, the embedding: ``(n, 84)``.
    head : torch.nn.Linear
        The classifier.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning
       applied to document recognition", Proc. IEEE 86(11), 1998.

    Examples
    --------
    >>> import torch
    >>> from sktl.backbones._lenet5 import LeNet5
    >>> LeNet5()(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 6, 5, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.stage1 = nn.Sequential(
            nn.Conv2d(6, 16, 5, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.stage2 = nn.Sequential(
            nn.Conv2d(16, 120, 5, bias=False),
            nn.BatchNorm2d(120),
            nn.ReLU(inplace=True),
        )
        # At the native 32 px the map is 1x1 already and the pooling does nothing; it
        # lets larger images through.
        self.fc6 = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(120, 84),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores of a batch ``(n, 1, height, width)``."""
        x = self.stem(x)
        x = self.stage1(x)
        x = self.stage2(x)
        x = self.fc6(x)
        return self.head(x)
