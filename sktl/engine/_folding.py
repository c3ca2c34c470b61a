"""Fold BatchNorm into the convolution before it, where that changes nothing."""

from __future__ import annotations

import copy
from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sktl.engine._device import one_thread

_TOLERANCE = 1e-4
# Others compute their weight from several parameters.
_OWN = {"weight", "bias"}


def folded(network: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """Return a copy of ``network``, folded where that gives the same numbers.

    Which BatchNorm follows which convolution is not read from the code but observed: a
    small batch runs through, and a pair is folded if the BatchNorm receives the very
    tensor that the convolution returned, unchanged. If that tensor is also used
    elsewhere, the output differs, and the copy is left unfolded.
    Together with channels_last, folding makes convolutional networks 1.2 to 2.6 times
    faster; neither alone does much.
    """
    copied = copy.deepcopy(network)
    if not any(isinstance(m, nn.BatchNorm2d) for m in network.modules()):
        return copied
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(input_shape, generator=generator)
    # One image on one thread takes 0.02 to 0.1 s; on several threads of a busy
    # machine it took up to 14 s.
    with one_thread(), torch.no_grad():
        pairs, before = _observe(network, probe)
        replaced: dict[nn.Module, nn.Module] = {}
        for conv, norm, x in pairs:
            fused = fuse_conv_bn_eval(conv, norm)
            # A subclass may transform its weight before it applies it.
            if type(conv) is nn.Conv2d or _near(fused(x), norm(conv(x))):
                replaced.update({conv: fused, norm: nn.Identity()})
        # Stages may share a module, which then has several paths.
        for path, module in network.named_modules(remove_duplicate=False):
            if module in replaced:
                copied.set_submodule(path, replaced[module])
        after = copied(probe)
    return copied if _near(after, before) else copy.deepcopy(network)


def _near(found: Tensor, expected: Tensor) -> bool:
    scale = expected.abs().amax().clamp_min(1e-12)
    return bool((found - expected).abs().amax() <= _TOLERANCE * scale)


def _observe(
    network: nn.Module, probe: Tensor
) -> tuple[list[tuple[nn.Conv2d, nn.BatchNorm2d, Tensor]], Tensor]:
    """Run ``probe``; return the pairs in it, with what came in, and the output."""
    made: dict[int, tuple[nn.Conv2d, Tensor, Tensor, int]] = {}
    calls: Counter[nn.Module] = Counter()
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d, Tensor]] = []

    def after_conv(module, args, output):
        calls[module] += 1
        # Holding the tensor keeps its id from being given to another one.
        if args:
            made[id(output)] = (module, args[0], output, output._version)

    def before_norm(module, args):
        calls[module] += 1
        if id(args[0]) in made:
            conv, x, output, version = made[id(args[0])]
            if output._version == version:
                pairs.append((conv, module, x))

    hooks = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module._parameters.keys() == _OWN:
            hooks.append(module.register_forward_hook(after_conv))
        elif type(module) is nn.BatchNorm2d and module.track_running_stats:
            hooks.append(module.register_forward_pre_hook(before_norm))
    try:
        output = network(probe)
    finally:
        for hook in hooks:
            hook.remove()
    followed = Counter(conv for conv, _, _ in pairs)
    return [
        (conv, norm, x)
        for conv, norm, x in pairs
        if calls[conv] == calls[norm] == followed[conv] == 1
    ], output
