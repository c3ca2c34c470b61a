"""Small layers without weights, for what networks write as functions in ``forward``."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx
from torch import Tensor, nn


class Copy(nn.Module):
    """The same numbers in a new tensor."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a copy."""
        return x.clone()


class Mean(nn.Module):
    """The mean over some dimensions: all positions of a map, or all tokens.

    ``n_prefix_tokens`` leaves out the first entries of dimension 1.
    """

    def __init__(self, *dims: int, n_prefix_tokens: int = 0):
        super().__init__()
        self.dims = dims
        self.n_prefix_tokens = n_prefix_tokens

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(n, c)``."""
        if self.n_prefix_tokens:
            x = x[:, self.n_prefix_tokens :]
        return x.mean(self.dims)

    def extra_repr(self) -> str:
        """Return the settings for the ``repr``."""
        return f"{self.dims}, n_prefix_tokens={self.n_prefix_tokens}"


class Permute(nn.Module):
    """Another order of dimensions."""

    def __init__(self, *order: int):
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """Return the same values in the other order."""
        return x.permute(self.order)

    def extra_repr(self) -> str:
        """Return the settings for the ``repr``."""
        return str(self.order)


class ClassToken(nn.Module):
    """The first token of ``(n, length, d)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(n, d)``."""
        return x[:, 0]


class ImageNetToHalf(nn.Module):
    """From ImageNet's mean and std to the 0.5 and 0.5 of the first Inceptions."""

    scale: Tensor
    shift: Tensor

    def __init__(self):
        super().__init__()
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        shape = (1, 3, 1, 1)
        scale = torch.tensor([s / 0.5 for s in std]).view(shape)
        shift = torch.tensor([(m - 0.5) / 0.5 for m in mean]).view(shape)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the batch in the other normalisation."""
        return x * self.scale + self.shift


class ViTStem(nn.Module):
    """Patches, class token and positions of torchvision's ``VisionTransformer``.

    If the image size differs from that of the weights, the position embeddings are
    interpolated, as is usual when a ViT is fine-tuned at a higher resolution.
    """

    conv_proj: nn.Module
    class_token: Tensor
    pos_embedding: Tensor
    dropout: nn.Module

    def __init__(self, vit: Any):
        super().__init__()
        self.conv_proj = vit.conv_proj
        self.class_token = vit.class_token
        self.pos_embedding = vit.encoder.pos_embedding
        self.dropout = vit.encoder.dropout
        self.side = vit.image_size // vit.patch_size

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens ``(n, 1 + length, d)``."""
        x = self.conv_proj(x)
        positions = _positions_for(x, self.pos_embedding, self.side)
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.dropout(x + positions)


def _positions_for(patches: Tensor, positions: Tensor, side: int) -> Tensor:
    """Return the position embeddings for a map of patches."""
    height, width = patches.shape[2:]
    if (height, width) == (side, side):
        return positions
    prefix, grid = positions[:, :1], positions[:, 1:]
    grid = grid.transpose(1, 2).unflatten(2, (side, side))
    grid = nn.functional.interpolate(
        grid, size=(height, width), mode="bicubic", antialias=True
    )
    return torch.cat([prefix, grid.flatten(2).transpose(1, 2)], dim=1)


# torch.fx cannot trace a branch on a shape; it keeps this call as one node.
torch.fx.wrap("_positions_for")
