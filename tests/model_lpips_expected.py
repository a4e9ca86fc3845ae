#!/usr/bin/env python3
"""Prints what tests/model_lpips_test.cpp expects: distances by the `lpips` package, version 0.1 of the metric, double.

Needs lpips, torch and torchvision (any recent ones: the networks are fixed). Weights and images are the test's own, by
an integer formula: nothing is downloaded.
"""

import lpips
import numpy as np
import torch


def noise(count: int, seed: int) -> np.ndarray:
    """Whole numbers in [0, 2^24), by the last steps of MurmurHash3."""
    x = np.arange(count, dtype=np.uint32) ^ np.uint32(seed * 0x9E3779B9 % 2**32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    return (x ^ (x >> np.uint32(16))) >> np.uint32(8)


def set_weights(model: lpips.LPIPS) -> None:
    """Weights in +-2^-k with 3 * 4^k the fan-in or below, so that activations keep their size; biases in +-1/16; lin
    weights of layer i in [0,4^i), so that each layer is seen in the sum."""
    seed = 0
    for name, p in model.state_dict().items():
        if not name.startswith(("net.", "lin")) or name.startswith("lins."):
            continue
        seed += 1
        n = noise(p.numel(), seed).reshape(p.shape)
        if name.startswith("lin"):
            p.copy_(torch.tensor(n * 2.0**-24 * 4 ** int(name[3])))
        else:
            k = next(k for k in range(32) if 3 * 4 ** (k + 1) > p[0].numel()) if name.endswith("weight") else 4
            p.copy_(torch.tensor((n * 2.0**-23 - 1) * 2.0**-k))


def image(seed: int, height: int, width: int) -> torch.Tensor:
    """(2,3,H,W), multiples of 1/128 in [-1,1)."""
    n = (noise(2 * height * width * 3, seed) >> np.uint32(16)) / 128.0 - 1
    return torch.tensor(n).reshape(2, height, width, 3).permute(0, 3, 1, 2).contiguous()


for net, height, width in (("alex", 67, 39), ("vgg", 35, 21)):
    model = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False).double()
    set_weights(model)
    a, b, toward = (image(seed, height, width) for seed in (101, 102, 103))
    b[1] = 0.875 * a[1] + 0.125 * b[1]  # the second pair is alike
    a.requires_grad_()
    distance, layers = model(a, b, retPerLayer=True)
    distance.sum().backward()
    slope = (a.grad * toward).sum(dim=(1, 2, 3))
    print(net, "distance", distance.flatten().tolist(), "slope", slope.tolist())
    print("   by layer", [[round(v, 4) for v in layer.flatten().tolist()] for layer in layers])
