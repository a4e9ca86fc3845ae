#!/usr/bin/env python3
"""PyTorch on the CPU as a peer. Requests and answers are those of peer.h; run with the python that setup.sh made.

  sdpa      b= frames= tokens= heads= width= anchors= window= targets=
            layout=blhd|bhld pass=fwd|fwdbwd|bwd form=mask|frames|best
                attention under a frame mask (kernels/attention/frame_mask.h; by default a token sees its own frame and
                all earlier ones), fp32. mask: one call with a boolean mask; frames: one unmasked call per frame, on
                the keys that it sees, which skips the masked work; best: whichever is faster here.
  transformer_block  frames= tokens= heads= width= hidden= pass=fwd|fwdbwd|bwd form=mask|frames
                a block of model/transformer_block.h, fp32, batch of one, its attention as in sdpa
  world_step  anchors= clean= targets= layers= heads= width= hidden= shared=0|1 form=mask|frames optimiser=
                a step of training of the world model in torch_world.py, batch of one: forward, backward, clipping, AdamW
                (optimiser: fused, which is the fastest here, foreach or forloop)
  world_frame anchors= clean= layers= heads= width= hidden= shared= form=cache|prefill
                a sampled frame: 15 Euler steps against cached keys and values. cache: then a pass that adds the frame to
                the cache; prefill: keys and values of all frames are made again for each sampled one, as published
  layernorm rows= width= pass=...
  gelu      n= pass=...                   the tanh form
  resize    n= h= w= c= oh= ow= mode=nearest|bilinear pass=... form=nhwc|nchw|best
                interpolate, nearest-exact or bilinear with align_corners=False; nhwc: channels_last tensors
  adamw     n= form=fused|foreach|best    one step of one tensor of n parameters; decay, no amsgrad
  gemm      m= n= k= layout=              torch.mm into a given result
  grid_sample  n= h= w= c= pass= form=contiguous|channels_last|best
                bilinear, zeros, align_corners=False, at points uniform over the image, as many as it has pixels
  deformable_attention  n= q= heads= width= points= levels=12x20+6x10 pass=
                one grid_sample per level, as Deformable DETR's ms_deform_attn_core_pytorch does without its extension
  inverse_warp  n= h= w= c= pass=         a depth map unprojected, moved, projected; the image sampled there
  depth_warp    n= h= w= c= pass=         forward splat; z-buffer by scatter_reduce(amin) on packed depth and index
  memory    (any of the above, as of=sdpa) peak memory that one call adds: see peak()

Common: threads, seconds, sets as in peer.h. `bwd` times autograd's backward alone, with the forward pass run between
the timings; `fwdbwd` times both. Gradients are freed between calls, not accumulated. Inputs are standard
normals, never zeros.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the CUDA libraries in this environment are empty

import torch
import torch.nn.functional as F

import torch_world

Call = Callable[[int], object]


class Bad(Exception):
    """A request that cannot be answered; the message says why."""


class Work:
    """One operation, set up: `prepare(set)` is not timed and may be None, `run(set)` is."""

    def __init__(
        self, sets: int, run: Call, prepare: Call | None = None, flops: float = 0, bytes_: float = 0, form: str = ""
    ):
        self.sets, self.run, self.prepare, self.flops, self.bytes, self.form = sets, run, prepare, flops, bytes_, form


def integer(request: dict, name: str, default: int | None = None) -> int:
    if name not in request and default is None:
        raise Bad(f"{request['op']}: {name} is missing")
    try:
        return int(request.get(name, default))
    except ValueError:
        raise Bad(f"{request['op']}: {name} is '{request[name]}', not a whole number") from None


def choice(request: dict, name: str, accepted: tuple[str, ...]) -> str:
    value = request.get(name, accepted[0])
    if value not in accepted:
        raise Bad(f"{request['op']}: {name} is '{value}', accepted are {', '.join(accepted)}")
    return value


def sets(request: dict) -> int:
    return max(1, integer(request, "sets", 1))


def with_passes(
    request: dict,
    leaves: list[list[torch.Tensor]],
    forward: Callable[..., torch.Tensor | tuple[torch.Tensor, ...]],
    cost: tuple,
) -> Work:
    """Forward, backward or both, of forward(*leaves[set]). cost: flops and bytes of forward, then of backward."""
    kind = choice(request, "pass", ("fwd", "fwdbwd", "bwd"))
    count = len(leaves)
    flops, bytes_, back_flops, back_bytes = cost
    if kind == "fwd":

        def run(s: int) -> None:
            with torch.no_grad():
                forward(*leaves[s])

        return Work(count, run, None, flops, bytes_)

    def outputs(s: int) -> tuple[torch.Tensor, ...]:
        y = forward(*leaves[s])
        return y if isinstance(y, tuple) else (y,)

    with torch.no_grad():
        grads = [[torch.randn_like(y) for y in outputs(s)] for s in range(count)]
    for group in leaves:
        for x in group:
            x.requires_grad_(True)
    kept: dict[int, tuple[torch.Tensor, ...]] = {}

    def drop(s: int) -> None:
        for x in leaves[s]:
            x.grad = None

    def both(s: int) -> None:
        torch.autograd.backward(outputs(s), grads[s])

    def only_forward(s: int) -> None:
        drop(s)
        kept.clear()
        kept[s] = outputs(s)

    def only_backward(s: int) -> None:
        torch.autograd.backward(kept[s], grads[s])

    if kind == "fwdbwd":
        return Work(count, both, drop, flops + back_flops, bytes_ + back_bytes)
    return Work(count, only_backward, only_forward, back_flops, back_bytes)


def visible(frame: int, frames: int, anchors: int, window: int, targets: int) -> list[tuple[int, int]]:
    """Ranges of frames that a frame sees, as FrameMask::visible."""
    if frame < anchors:
        return [(0, frame + 1)]
    original = frame - targets if frame >= frames - targets else frame
    oldest = anchors if window < 0 else max(anchors, original - window)
    ranges: list[tuple[int, int]] = []
    for begin, end in ((0, anchors), (oldest, original), (frame, frame + 1)):
        if begin < end and ranges and ranges[-1][1] == begin:
            ranges[-1] = (ranges[-1][0], end)
        elif begin < end:
            ranges.append((begin, end))
    return ranges


Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def frame_attention(request: dict, form: str) -> tuple[Attend, float]:
    """Attention of q, k, v (b,heads,length,width) under the frame mask, and how many pairs the mask lets through."""
    frames, tokens = integer(request, "frames"), integer(request, "tokens")
    rule = (integer(request, "anchors", 0), integer(request, "window", -1), integer(request, "targets", 0))
    seen = [[(i * tokens, j * tokens) for i, j in visible(f, frames, *rule)] for f in range(frames)]

    mask = torch.zeros(frames * tokens, frames * tokens, dtype=torch.bool)
    for f, ranges in enumerate(seen):
        for i, j in ranges:
            mask[f * tokens : (f + 1) * tokens, i:j] = True

    def masked(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, mask)

    def pick(x: torch.Tensor, ranges: list[tuple[int, int]]) -> torch.Tensor:
        parts = [x[:, :, i:j] for i, j in ranges]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)

    def by_frames(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.cat(
            [
                F.scaled_dot_product_attention(q[:, :, f * tokens : (f + 1) * tokens], pick(k, r), pick(v, r))
                for f, r in enumerate(seen)
            ],
            2,
        )

    return masked if form == "mask" else by_frames, float(mask.sum())


def sdpa(request: dict, form: str) -> Work:
    b, length = integer(request, "b", 1), integer(request, "frames") * integer(request, "tokens")
    heads, width = integer(request, "heads"), integer(request, "width")
    attend, pairs = frame_attention(request, form)

    def operand() -> torch.Tensor:
        if choice(request, "layout", ("blhd", "bhld")) == "blhd":
            return torch.randn(b, length, heads, width).transpose(1, 2)
        return torch.randn(b, heads, length, width)

    leaves = [[operand() for _ in range(3)] for _ in range(sets(request))]
    # Two products forward and five backward (one recomputes the scores), over the pairs that the mask lets through.
    size, product = 4.0 * b * heads * length * width, 2.0 * b * heads * width * pairs
    work = with_passes(request, leaves, attend, (2 * product, 4 * size, 5 * product, 8 * size))
    work.form = form
    return work


def transformer_block(request: dict, form: str) -> Work:
    """model/transformer_block.h on a batch of one, written as one writes it in eager mode; every activation is kept."""
    frames, tokens, heads = integer(request, "frames"), integer(request, "tokens"), integer(request, "heads")
    width, hidden = integer(request, "width"), integer(request, "hidden")
    c, length = heads * width, frames * tokens
    attend, pairs = frame_attention(request, form)
    cos, sin = torch.randn(2, length, 1, width // 2)

    def rotate(x: torch.Tensor) -> torch.Tensor:  # (length,heads,width)
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def forward(
        x: torch.Tensor, condition: torch.Tensor, q_norm: torch.Tensor, k_norm: torch.Tensor, *linear: torch.Tensor
    ) -> torch.Tensor:
        modulation, qkv, out, up, down = zip(linear[::2], linear[1::2])
        m = F.linear(F.silu(condition), *modulation).view(frames, 1, 6 * c)
        shift1, scale1, gate1, shift2, scale2, gate2 = m.chunk(6, -1)

        def adaln(v: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:  # (frames,tokens,c)
            return F.layer_norm(v, (c,), eps=1e-6) * (1 + scale) + shift

        q, k, v = F.linear(adaln(x, shift1, scale1), *qkv).view(length, 3, heads, width).unbind(1)
        q = rotate(F.rms_norm(q, (width,), q_norm, 1e-5))
        k = rotate(F.rms_norm(k, (width,), k_norm, 1e-5))
        a = attend(*(t.transpose(0, 1)[None] for t in (q, k, v)))  # (1,heads,length,width)
        a = a[0].transpose(0, 1).reshape(frames, tokens, c)
        x = x + gate1 * F.linear(a, *out)
        h = F.gelu(F.linear(adaln(x, shift2, scale2), *up), approximate="tanh")
        return x + gate2 * F.linear(h, *down)

    shapes = [(6 * c, c), (3 * c, c), (c, c), (hidden, c), (c, hidden)]

    def operands() -> list[torch.Tensor]:
        linear = [t for shape in shapes for t in (torch.randn(shape) * 0.02, torch.randn(shape[0]) * 0.02)]
        return [torch.randn(frames, tokens, c), torch.randn(frames, c), torch.ones(width), torch.ones(width), *linear]

    flops = 2.0 * (frames * shapes[0][0] * c + length * sum(o * i for o, i in shapes[1:]))
    product = 2.0 * c * pairs
    leaves = [operands() for _ in range(sets(request))]
    work = with_passes(request, leaves, forward, (flops + 2 * product, 0, 2 * flops + 5 * product, 0))
    work.form = form
    return work


def world_model(request: dict) -> torch_world.World:
    heads, width = integer(request, "heads"), integer(request, "width")
    config = torch_world.Config(
        layers=integer(request, "layers"),
        channels=heads * width,
        heads=heads,
        hidden=integer(request, "hidden"),
        shared=bool(integer(request, "shared")),
    )
    return torch_world.World(config, torch_world.random_weights(config))


def world_conditions(frames: int, tau: torch.Tensor) -> torch_world.Conditions:
    pose = torch.randn(frames, torch_world.POSE_FEATURES)
    return torch_world.Conditions(pose, torch.arange(frames), torch.zeros(frames, dtype=torch.long), tau)


def world_step(request: dict, form: str) -> Work:
    """A step as train/trainer.h makes it, on one sequence: anchors, clean frames, noised ones."""
    anchors, clean, targets = (integer(request, name) for name in ("anchors", "clean", "targets"))
    model = world_model(request)
    o, frames = model.o, anchors + clean + targets
    # One target follows the clean frames; several are copies of the last of them.
    shape = {"frames": frames, "tokens": o.tokens, "anchors": anchors, "window": 9, "targets": targets if targets > 1 else 0}
    attend, _ = frame_attention({**request, **shape}, form)
    parameters = [p.requires_grad_() for p in model.w.values()]
    kind = choice(request, "optimiser", ("fused", "foreach", "forloop"))
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.01},
            {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
        ],
        lr=1e-5,
        betas=(0.9, 0.95),
        **({"foreach": False} if kind == "forloop" else {kind: True}),
    )
    kept = torch.randn(anchors + clean, o.rows, o.columns, 2 * o.latent_channels)
    x0, before = torch.randn(2, targets, o.rows, o.columns, o.latent_channels)
    tau = torch.rand(targets)
    conditions = world_conditions(frames, torch.cat((torch.zeros(anchors + clean), tau)))
    plan, weight = torch.randn(clean, torch_world.PLAN_SIZE), torch.ones(clean, torch_world.PLAN_SIZE)

    def run(s: int) -> None:
        optimiser.zero_grad(set_to_none=True)
        eps = torch.randn_like(x0)
        noised = torch.cat((torch.lerp(x0, eps, tau.view(-1, 1, 1, 1)), before), -1)
        velocity, plans = model.apply(torch.cat((kept, noised)), conditions, targets, attend, anchors)
        of_velocity, of_plan = model.losses(velocity, x0 - eps, plans, plan, weight)
        (of_velocity + 0.1 * of_plan).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()

    work = Work(1, run)
    work.form = f"{form}, {kind} AdamW"
    return work


def world_frame(request: dict, form: str) -> Work:
    """The frame behind anchors and clean frames; the oldest clean frame then leaves the ring."""
    anchors, clean = integer(request, "anchors"), integer(request, "clean")
    model = world_model(request)
    o, seen = model.o, anchors + clean
    shape = {"frames": seen, "tokens": o.tokens, "anchors": anchors, "window": 9, "targets": 0}
    attend, _ = frame_attention({**request, **shape}, "frames")
    latents = torch.randn(seen + 1, o.rows, o.columns, o.latent_channels)
    with torch.inference_mode():
        rollout = torch_world.Rollout(model, seen + 1, torch.linspace(1, 0, 16))
    next_one, all_before = world_conditions(1, torch.zeros(1)), world_conditions(seen, torch.zeros(seen))
    place = 0

    def run(s: int) -> None:
        nonlocal place
        with torch.inference_mode():
            before = latents[-1:]
            if form == "prefill":
                rollout.prefill(torch.cat((latents[1:], latents[:-1]), -1), all_before, attend)
                rollout.sample(torch.randn_like(before), before, next_one, seen)
                return
            slot = anchors + place
            x = rollout.sample(torch.randn_like(before), before, next_one, slot)
            rollout.append(before + x, before, next_one, slot)
            place = (place + 1) % (clean + 1)

    work = Work(1, run)
    work.form = form
    return work


def layernorm(request: dict, form: str) -> Work:
    rows, width = integer(request, "rows"), integer(request, "width")
    size = 4.0 * rows * width
    leaves = [[torch.randn(rows, width), torch.randn(width), torch.randn(width)] for _ in range(sets(request))]

    def forward(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, (width,), weight, bias, 1e-6)

    return with_passes(request, leaves, forward, (0, 2 * size, 0, 3 * size))


def gelu(request: dict, form: str) -> Work:
    n = integer(request, "n")
    leaves = [[torch.randn(n)] for _ in range(sets(request))]
    return with_passes(request, leaves, lambda x: F.gelu(x, approximate="tanh"), (0, 8.0 * n, 0, 12.0 * n))


def resize(request: dict, form: str) -> Work:
    n, h, w, c = (integer(request, name) for name in ("n", "h", "w", "c"))
    size = (integer(request, "oh"), integer(request, "ow"))
    mode = choice(request, "mode", ("nearest", "bilinear"))
    layout = torch.channels_last if form == "nhwc" else torch.contiguous_format
    leaves = [[torch.randn(n, c, h, w).contiguous(memory_format=layout)] for _ in range(sets(request))]

    def forward(x: torch.Tensor) -> torch.Tensor:
        if mode == "nearest":
            return F.interpolate(x, size, mode="nearest-exact")
        return F.interpolate(x, size, mode="bilinear", align_corners=False)

    bytes_ = 4.0 * n * c * (h * w + size[0] * size[1])
    work = with_passes(request, leaves, forward, (0, bytes_, 0, bytes_))
    work.form = form
    return work


def adamw(request: dict, form: str) -> Work:
    n = integer(request, "n")
    optimisers = []
    for _ in range(sets(request)):
        p = torch.nn.Parameter(torch.randn(n))
        p.grad = torch.randn(n)
        optimisers.append(torch.optim.AdamW([p], lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, **{form: True}))
        optimisers[-1].step()  # makes the moments
    work = Work(len(optimisers), lambda s: optimisers[s].step(), None, 0, 28.0 * n)  # reads p, g, m, v; writes p, m, v
    work.form = form
    return work


def gemm(request: dict, form: str) -> Work:
    m, n, k = integer(request, "m"), integer(request, "n"), integer(request, "k")
    layout = choice(request, "layout", ("nn", "nt", "tn", "tt"))
    bytes_ = 4.0 * (m * k + k * n + m * n)
    a, b, c = [], [], []
    for _ in range(sets(request)):
        a.append(torch.randn(k, m).t() if layout[0] == "t" else torch.randn(m, k))
        b.append(torch.randn(n, k).t() if layout[1] == "t" else torch.randn(k, n))
        c.append(torch.empty(m, n))
    return Work(len(a), lambda s: torch.mm(a[s], b[s], out=c[s]), None, 2.0 * m * n * k, bytes_)


def grid_sample(request: dict, form: str) -> Work:
    n, h, w, c = (integer(request, k) for k in ("n", "h", "w", "c"))
    layout = torch.channels_last if form == "channels_last" else torch.contiguous_format

    def operands() -> list[torch.Tensor]:
        return [torch.randn(n, c, h, w).to(memory_format=layout), torch.rand(n, h, w, 2) * 2 - 1]

    leaves = [operands() for _ in range(sets(request))]
    size = 4.0 * n * h * w
    cost = (0, size * (2 * c + 2), 0, size * (3 * c + 4))
    work = with_passes(request, leaves, lambda x, grid: F.grid_sample(x, grid, align_corners=False), cost)
    work.form = form
    return work


def deformable_attention(request: dict, form: str) -> Work:
    n, q, heads, width, points = (integer(request, k) for k in ("n", "q", "heads", "width", "points"))
    levels = [tuple(int(x) for x in level.split("x")) for level in request["levels"].split("+")]
    pixels = sum(h * w for h, w in levels)

    def forward(value: torch.Tensor, locations: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        grids = 2 * locations - 1
        samples = []
        for i, part in enumerate(value.split([h * w for h, w in levels], 1)):
            features = part.flatten(2).transpose(1, 2).reshape(n * heads, width, *levels[i])
            grid = grids[:, :, :, i].transpose(1, 2).flatten(0, 1)
            samples.append(F.grid_sample(features, grid, align_corners=False))  # (n heads, width, q, points)
        weights = weights.transpose(1, 2).reshape(n * heads, 1, q, len(levels) * points)
        y = (torch.stack(samples, -2).flatten(-2) * weights).sum(-1)
        return y.view(n, heads * width, q).transpose(1, 2).contiguous()

    leaves = [
        [
            torch.randn(n, pixels, heads, width),
            torch.rand(n, q, heads, len(levels), points, 2),
            torch.rand(n, q, heads, len(levels), points) * 2 - 1,
        ]
        for _ in range(sets(request))
    ]
    size = 4.0 * n * (pixels * heads * width + q * heads * (3 * len(levels) * points + width))
    return with_passes(request, leaves, forward, (0, size, 0, 2 * size))


def warp_operands(request: dict) -> tuple[list[list[torch.Tensor]], tuple, tuple[int, ...]]:
    """Images (n,c,h,w), depths and poses; the pixels' rays and the camera; n, h, w, c. As in our cases, all alike."""
    n, h, w, c = (integer(request, k) for k in ("n", "h", "w", "c"))
    focal, centre = torch.tensor([0.6 * w, 0.61 * w]), torch.tensor([0.5 * w - 0.62, 0.5 * h - 0.43])
    v, u = torch.meshgrid(torch.arange(float(h)), torch.arange(float(w)), indexing="ij")
    rays = torch.stack(((u - centre[0]) / focal[0], (v - centre[1]) / focal[1], torch.ones(h, w))).view(3, h * w)
    k = torch.tensor([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
    pose = torch.tensor(
        [[0.998, -0.031, -0.047, 0.31], [0.031, 0.999, -0.023, -0.17], [0.047, 0.023, 0.999, -0.43]]
    )
    leaves = [
        [torch.randn(n, c, h, w), torch.rand(n, h, w) * 38 + 2, pose.repeat(n, 1, 1)] for _ in range(sets(request))
    ]
    return leaves, (rays, k), (n, h, w, c)


def project(depth: torch.Tensor, pose: torch.Tensor, camera: tuple) -> torch.Tensor:
    """(n,3,h w): x z, y z and z of every pixel in the other camera's image."""
    rays, k = camera
    points = depth.flatten(1)[:, None] * rays
    return (k @ pose[:, :, :3]) @ points + k @ pose[:, :, 3:]


def inverse_warp(request: dict, form: str) -> Work:
    leaves, camera, (n, h, w, c) = warp_operands(request)

    def forward(image: torch.Tensor, depth: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        p = project(depth, pose, camera)
        x, y = p[:, 0] / p[:, 2], p[:, 1] / p[:, 2]
        grid = torch.stack(((2 * x + 1) / w - 1, (2 * y + 1) / h - 1), -1).view(n, h, w, 2)
        return F.grid_sample(image, grid, align_corners=False)

    size = 4.0 * n * h * w
    return with_passes(request, leaves, forward, (0, size * (2 * c + 1), 0, size * (3 * c + 2)))


def depth_warp(request: dict, form: str) -> Work:
    leaves, camera, (n, h, w, c) = warp_operands(request)
    leaves = [[image.permute(0, 2, 3, 1).reshape(n, h * w, c), depth, pose] for image, depth, pose in leaves]
    index, nothing = torch.arange(h * w), torch.iinfo(torch.int64).max

    def forward(image: torch.Tensor, depth: torch.Tensor, pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        p = project(depth, pose, camera)
        z = p[:, 2].contiguous()
        with torch.no_grad():
            i, j = torch.floor(p[:, 0] / z + 0.5), torch.floor(p[:, 1] / z + 0.5)
            lands = (z > 0) & (i >= 0) & (i < w) & (j >= 0) & (j < h)
            target = torch.where(lands, j * w + i, float(h * w)).long()
            key = (z.view(torch.int32).long() << 32) | index
            best = torch.full((n, h * w + 1), nothing).scatter_reduce_(1, target, key, "amin")[:, : h * w]
            hit = best != nothing
            source = torch.where(hit, best & 0xFFFFFFFF, 0)
        y = image.gather(1, source[:, :, None].expand(n, h * w, c)) * hit[:, :, None]
        return y, z.gather(1, source) * hit

    size = 4.0 * n * h * w
    return with_passes(request, leaves, forward, (0, size * (2 * c + 4), 0, size * (2 * c + 4)))


# op -> (set it up, its forms)
OPS: dict[str, tuple[Callable[[dict, str], Work], tuple[str, ...]]] = {
    "sdpa": (sdpa, ("mask", "frames")),
    "transformer_block": (transformer_block, ("mask", "frames")),
    "world_step": (world_step, ("mask", "frames")),
    "world_frame": (world_frame, ("cache", "prefill")),
    "layernorm": (layernorm, ("",)),
    "gelu": (gelu, ("",)),
    "resize": (resize, ("nhwc", "nchw")),
    "adamw": (adamw, ("fused", "foreach")),
    "gemm": (gemm, ("",)),
    "grid_sample": (grid_sample, ("contiguous", "channels_last")),
    "deformable_attention": (deformable_attention, ("",)),
    "inverse_warp": (inverse_warp, ("",)),
    "depth_warp": (depth_warp, ("",)),
}


def measure(work: Work, seconds: float) -> list[float]:
    """As measure() of peer.h: microseconds of each call, ascending."""
    call, times = 0, []

    def once() -> float:
        nonlocal call
        s = call % work.sets
        call += 1
        if work.prepare:
            work.prepare(s)
        before = time.perf_counter_ns()
        work.run(s)
        return (time.perf_counter_ns() - before) * 1e-3

    start = time.perf_counter()
    while call < 2 or time.perf_counter() - start < 0.2 * seconds:
        once()
    start = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        times.append(once())
    return sorted(times)


def quantile(ascending: list[float], q: float) -> float:
    at = q * (len(ascending) - 1)
    i = int(at)
    return ascending[i] + (at - i) * (ascending[min(i + 1, len(ascending) - 1)] - ascending[i])


class Server:
    """Keeps what it set up last and which form was the faster one, for requests that come again."""

    def __init__(self) -> None:
        self.key, self.work = "", None
        self.faster: dict[str, str] = {}

    def times(self, request: dict, form: str) -> list[float]:
        key = repr(sorted((k, v) for k, v in request.items() if k not in ("seconds", "form", "threads"))) + form
        if key != self.key:
            self.key, self.work = "", None  # frees the old one first
            torch.manual_seed(1)
            self.work = OPS[request["op"]][0](request, form)
            self.key = key
        return measure(self.work, float(request.get("seconds", 0.5)))

    def answer(self, request: dict) -> dict:
        threads = integer(request, "threads", 1)
        torch.set_num_threads(threads)
        if request["op"] == "memory":
            return peak_in_new_process(request)
        if request["op"] not in OPS:
            raise Bad(f"torch_ops knows {', '.join(OPS)} and memory, not {request['op']}")
        names = OPS[request["op"]][1]
        form = choice(request, "form", (*names, "best"))
        if form == "best":
            key = repr(sorted((k, v) for k, v in request.items() if k != "seconds"))
            if key not in self.faster:
                self.faster[key] = min(names, key=lambda f: quantile(self.times(request, f), 0.1))
            form = self.faster[key]
        us = self.times(request, form)
        version = f"PyTorch {torch.__version__.split('+')[0]} {torch.backends.cpu.get_cpu_capability()}"
        return {
            "peer": "torch",
            "version": version,
            "form": form,
            "threads": threads,
            "samples": len(us),
            "median_us": round(quantile(us, 0.5), 3),
            "p10_us": round(quantile(us, 0.1), 3),
            "p90_us": round(quantile(us, 0.9), 3),
            "flops": self.work.flops,
            "bytes": self.work.bytes,
        }


# ---- peak memory ----


def status_bytes(name: str) -> int:
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    raise Bad(f"/proc/self/status has no {name}")


def peak_in_new_process(request: dict) -> dict:
    """A process that has run nothing else: memory that an allocator kept from earlier calls would hide this call's.

    For the same reason glibc is told to give blocks of 64 KB and more back as soon as they are freed, and to use small
    pages, of which only the touched ones count.
    """
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    environment.pop("GLIBC_TUNABLES", None)
    words = ["peak"] + [f"{k}={v}" for k, v in request.items() if k not in ("op", "seconds")]
    done = subprocess.run(
        [sys.executable, __file__, *words], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise Bad(f"memory: {done.stdout.strip() or done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def peak(request: dict) -> dict:
    """Peak resident memory that one call adds to its inputs.

    A tiny case of the same op runs first, so that threads, kernels and autograd are in place. Then the inputs are made
    (one set), VmHWM is set back to VmRSS by writing 5 to /proc/self/clear_refs, and one call runs. The figure is VmHWM
    after the call less VmRSS before it. It counts outputs, saved tensors, gradients and scratch; not inputs, mask and
    output gradient. Pages that the call frees and takes again count once. Of the world model it is all that there is: the
    weights, the optimiser and the inputs too, over two calls.
    """
    small = {"tokens": "4", "heads": "1", "width": "8", "rows": "4", "n": "64", "m": "8", "k": "8", "hidden": "8", "layers": "1"}
    op = request.get("of", "")
    if op not in OPS:
        raise Bad(f"memory: of is '{op}', accepted are {', '.join(OPS)}")
    make, names = OPS[op]
    request = {**request, "op": op, "sets": "1"}
    form = choice(request, "form", names)
    torch.set_num_threads(integer(request, "threads", 1))
    torch.manual_seed(1)

    def once(work: Work) -> None:
        if work.prepare:
            work.prepare(0)
        work.run(0)

    once(make({k: small.get(k, v) for k, v in request.items()}, form))
    whole = op.startswith("world_")
    work = None if whole else make(request, form)
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")
    before = status_bytes("VmRSS")
    if work is None:
        work = make(request, form)
        once(work)  # makes the moments
    once(work)
    return {
        "peer": "torch",
        "version": f"PyTorch {torch.__version__.split('+')[0]}",
        "form": form,
        "threads": torch.get_num_threads(),
        "peak_bytes": status_bytes("VmHWM") - before,
    }


def main() -> int:
    server = Server()

    def respond(words: list[str]) -> int:
        try:
            bad = [w for w in words[1:] if "=" not in w]
            if bad or not words:
                raise Bad(f"'{(bad or [''])[0]}' is not of the form name=value")
            request = {"op": words[0], **dict(w.split("=", 1) for w in words[1:])}
            print(json.dumps(peak(request) if words[0] == "peak" else server.answer(request)), flush=True)
            return 0
        except (Bad, ValueError, RuntimeError) as e:
            print(json.dumps({"error": str(e)}), flush=True)
            return 2

    if sys.argv[1:] != ["-"]:
        return respond(sys.argv[1:])
    for line in sys.stdin:
        if line.strip():
            respond(shlex.split(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
