#!/usr/bin/env python3
"""Prints what tests/model_world_model_test.cpp expects of the world model: the same network in PyTorch, in double.

    ~/.cache/dreamroad-peers/bin/python tests/model_world_model_expected.py        (made by bench/peers/setup.sh)

Weights and inputs are the test's own, by an integer formula. The network is the one that bench/peers times.
"""

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench/peers"))
import torch
import torch_ops
import torch_world

ANCHORS, CLEAN, TARGETS, WINDOW = 2, 5, 3, 3


def numbers(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Multiples of 2^-23 in [-1, 1), by the last steps of MurmurHash3."""
    x = np.arange(int(np.prod(shape)), dtype=np.uint32) ^ np.uint32(seed * 0x9E3779B9 % 2**32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    x = (x ^ (x >> np.uint32(16))) >> np.uint32(8)
    return torch.tensor(x * 2.0**-23 - 1).reshape(shape)


def weights(config: torch_world.Config) -> torch_world.Weights:
    return {
        name: (1 + 0.5 * numbers(shape, i + 1) if name.endswith("norm.weight") else 0.25 * numbers(shape, i + 1)).requires_grad_()
        for i, (name, shape) in enumerate(torch_world.shapes(config).items())
    }


def show(shared: bool) -> None:
    config = torch_world.Config(4, 6, 4, 2, layers=3, channels=24, heads=2, hidden=48, hypotheses=2, shared=shared)
    model = torch_world.World(config, weights(config))
    frames = ANCHORS + CLEAN + TARGETS
    tau = torch.tensor([0.0] * (ANCHORS + CLEAN) + [0.75, 0.5, 0.25], dtype=torch.float64)
    index = torch.tensor([20, 21, 0, 1, 2, 3, 4, 2, 3, 4])
    withheld = torch.tensor([0] * 8 + [1, 0])
    conditions = torch_world.Conditions(numbers((frames, torch_world.POSE_FEATURES), 200), index, withheld, tau)
    shape = {"frames": frames, "tokens": config.tokens, "anchors": ANCHORS, "window": WINDOW, "targets": TARGETS}
    attend, _ = torch_ops.frame_attention({"op": "world", **shape}, "mask")
    x = numbers((frames, 4, 6, 8), 201)
    velocity, plans = model.apply(x, conditions, TARGETS, attend, ANCHORS)
    plan = numbers((CLEAN, torch_world.PLAN_SIZE), 203)
    weight = (numbers((CLEAN, torch_world.PLAN_SIZE), 204) > 0).double()
    of_velocity, of_plan = model.losses(velocity, numbers((TARGETS, 4, 6, 4), 202), plans, plan, weight)
    (of_velocity + 0.1 * of_plan).backward()

    def brief(t: torch.Tensor) -> str:
        return ", ".join(f"{v:.6f}" for v in t.flatten().tolist())

    print("shared" if shared else "per block")
    print("  velocity", brief(velocity[:, 1, 2]))
    print("  plan", brief(plans[0][-1, :, :2]), "|", brief(plans[1][-1, :, :2]), "|", brief(plans[2][-1]))
    print("  losses", brief(torch.stack((of_velocity, of_plan))))
    for name in ("embed.weight", "tau.in.weight", "index", "blocks.0.attention.qkv.weight", "blocks.1.attention.k_norm.weight",
                 "blocks.2.mlp.down.weight", "modulation.weight" if shared else "blocks.0.modulation.weight", "plan.blocks.0.up.weight"):
        print(f'  {{"{name}", {float(model.w[name].grad.norm()):.6f}}},')


for shared in (False, True):
    show(shared)
