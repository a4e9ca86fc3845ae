"""The world model of model/world_model.h in eager PyTorch, for a batch of one: what torch_ops.py times, and what the values
in tests/model_world_model_test.cpp come from (tests/model_world_model_expected.py).

Weights are a dict of tensors with dreamroad's names and shapes, in its order. Shapes: F frames, S tokens of a frame, C
channels, H heads, D their width.
"""

import dataclasses
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

POSE_FEATURES, TAU_FEATURES, WINDOW_FRAMES, PLAN_SIZE = 156, 128, 50, 33 * 15
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # of (1,H,length,D)
Weights = dict[str, torch.Tensor]


@dataclasses.dataclass
class Config:
    rows: int = 16
    columns: int = 32
    latent_channels: int = 4
    patch: int = 2
    layers: int = 12
    channels: int = 768
    heads: int = 12
    hidden: int = 3072
    hypotheses: int = 5
    shared: bool = True

    @property
    def tokens(self) -> int:
        return self.rows * self.columns // self.patch**2


def shapes(o: Config) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights, in the order in which dreamroad makes them."""
    c, numbers, out = o.channels, o.patch**2 * o.latent_channels, {}

    def layer(name: str, n: int, k: int) -> None:
        out[name + ".weight"], out[name + ".bias"] = (n, k), (n,)

    window = 3 * o.patch
    out["embed.weight"], out["embed.bias"] = (c, window, window, 2 * o.latent_channels), (c,)
    out["place"] = (o.tokens, c)
    layer("pose.in", c, POSE_FEATURES)
    layer("pose.out", c, c)
    layer("tau.in", c, TAU_FEATURES)
    layer("tau.out", c, c)
    out["withheld"], out["index"] = (2, c), (WINDOW_FRAMES, c)
    if o.shared:
        layer("modulation", 6 * c, c)
    for i in range(o.layers):
        block = f"blocks.{i}"
        if o.shared:
            out[block + ".modulation.table"] = (1, 6 * c)
        else:
            layer(block + ".modulation", 6 * c, c)
        layer(block + ".attention.qkv", 3 * c, c)
        out[block + ".attention.q_norm.weight"] = out[block + ".attention.k_norm.weight"] = (c // o.heads,)
        layer(block + ".attention.out", c, c)
        layer(block + ".mlp.up", o.hidden, c)
        layer(block + ".mlp.down", c, o.hidden)
    layer("final.modulation", 2 * c, c)
    layer("final", numbers, c)
    for i in range(4):
        block = f"plan.blocks.{i}"
        out[block + ".norm.weight"] = out[block + ".norm.bias"] = (c,)
        layer(block + ".up", 2 * c, c)
        layer(block + ".down", c, 2 * c)
    layer("plan.mean", o.hypotheses * PLAN_SIZE, c)
    layer("plan.log_scale", o.hypotheses * PLAN_SIZE, c)
    layer("plan.logits", o.hypotheses, c)
    return out


def random_weights(o: Config) -> Weights:
    return {
        name: torch.randn(shape) * 0.02 + (1 if name.endswith("norm.weight") else 0) for name, shape in shapes(o).items()
    }


def tau_features(tau: torch.Tensor) -> torch.Tensor:
    half = TAU_FEATURES // 2
    angle = 1000 * tau[:, None] * torch.exp(-torch.arange(half, dtype=tau.dtype) / half * math.log(10000))
    return torch.cat((angle.cos(), angle.sin()), -1)


@dataclasses.dataclass
class Conditions:
    """What is told of F frames: pose features (F,156), and of each its index, tau, and whether its pose is withheld."""

    pose: torch.Tensor
    index: torch.Tensor
    withheld: torch.Tensor
    tau: torch.Tensor


class World:
    def __init__(self, config: Config, weights: Weights):
        self.o, self.w = config, weights

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    # ---- what surrounds the blocks ----

    def embed(self, frames: torch.Tensor) -> torch.Tensor:  # (F,h,w,2c) -> (F,S,C)
        o, p = self.o, self.o.patch
        x = frames.view(-1, o.rows, o.columns, 2 * o.latent_channels).permute(0, 3, 1, 2)
        x = F.conv2d(x, self.w["embed.weight"].permute(0, 3, 1, 2), self.w["embed.bias"], stride=p, padding=p)
        return x.flatten(2).transpose(1, 2) + self.w["place"]

    def pose_condition(self, c: Conditions) -> torch.Tensor:
        a = self.linear(F.silu(self.linear(c.pose, "pose.in")), "pose.out")
        return a + self.w["withheld"][c.withheld] + self.w["index"][c.index]

    def tau_condition(self, tau: torch.Tensor) -> torch.Tensor:
        return self.linear(F.silu(self.linear(tau_features(tau), "tau.in")), "tau.out")

    def modulations(self, condition: torch.Tensor) -> list[torch.Tensor]:
        """Of each block, (R,6C)."""
        a = F.silu(condition)
        if not self.o.shared:
            return [self.linear(a, f"blocks.{i}.modulation") for i in range(self.o.layers)]
        m = self.linear(a, "modulation")
        return [m + self.w[f"blocks.{i}.modulation.table"] for i in range(self.o.layers)]

    def final_modulation(self, condition: torch.Tensor) -> torch.Tensor:
        return self.linear(F.silu(condition), "final.modulation")

    def adaln(self, x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(shift, F.layer_norm(x, (self.o.channels,), eps=1e-6), 1 + scale)

    def velocity(self, h: torch.Tensor, modulation: torch.Tensor) -> torch.Tensor:  # (F,S,C), (F,2C) -> (F,h,w,c)
        o, p = self.o, self.o.patch
        y = self.linear(self.adaln(h, *modulation[:, None].chunk(2, -1)), "final")
        y = y.view(-1, o.rows // p, o.columns // p, p, p, o.latent_channels).transpose(2, 3)
        return y.reshape(-1, o.rows, o.columns, o.latent_channels)

    def rotary(self, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines (F S,1,D/2) of frames of these indices."""
        o = self.o
        half, columns = o.channels // o.heads // 2, o.columns // o.patch
        third, s = half // 3, torch.arange(o.tokens)
        place = torch.stack(
            (index[:, None].expand(-1, o.tokens), (s // columns).expand(len(index), -1), (s % columns).expand(len(index), -1))
        )
        parts = []
        for axis, share in enumerate((half - 2 * third, third, third)):
            omega = torch.exp(-torch.arange(share, dtype=torch.float32) / share * math.log(100))
            parts.append(place[axis].float().flatten()[:, None] * omega)
        angle = torch.cat(parts, -1)[:, None].to(self.w["place"].dtype)
        return angle.cos(), angle.sin()

    def plan(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(F,S,C) -> means and log-scales (F,K,495), logits (F,K)."""
        f = tokens.mean(1)
        for i in range(4):
            name = f"plan.blocks.{i}"
            n = F.layer_norm(f, (self.o.channels,), self.w[name + ".norm.weight"], self.w[name + ".norm.bias"], 1e-5)
            f = f + self.linear(F.gelu(self.linear(n, name + ".up"), approximate="tanh"), name + ".down")
        guesses = [self.linear(f, f"plan.{name}").view(-1, self.o.hypotheses, PLAN_SIZE) for name in ("mean", "log_scale")]
        return guesses[0], guesses[1], self.linear(f, "plan.logits")

    # ---- blocks ----

    def block(
        self, i: int, x: torch.Tensor, m: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor], attend: Attend
    ) -> torch.Tensor:
        """x (F,S,C), m (F,6C); attend is given q, k and v (1,H,F S,D)."""
        o, name = self.o, f"blocks.{i}"
        frames, length, width = x.shape[0], x.shape[0] * x.shape[1], o.channels // o.heads
        cos, sin = rotary
        shift1, scale1, gate1, shift2, scale2, gate2 = m[:, None].chunk(6, -1)

        def turned(v: torch.Tensor, norm: str) -> torch.Tensor:
            a, b = F.rms_norm(v, (width,), self.w[f"{name}.attention.{norm}.weight"], 1e-5).chunk(2, -1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

        qkv = self.linear(self.adaln(x, shift1, scale1), name + ".attention.qkv")
        q, k, v = qkv.view(length, 3, o.heads, width).unbind(1)
        a = attend(*(t.transpose(0, 1)[None] for t in (turned(q, "q_norm"), turned(k, "k_norm"), v)))
        a = a[0].transpose(0, 1).reshape(frames, -1, o.channels)
        x = torch.addcmul(x, gate1, self.linear(a, name + ".attention.out"))
        h = F.gelu(self.linear(self.adaln(x, shift2, scale2), name + ".mlp.up"), approximate="tanh")
        return torch.addcmul(x, gate2, self.linear(h, name + ".mlp.down"))

    def apply(
        self, frames: torch.Tensor, c: Conditions, targets: int, attend: Attend, anchors: int
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """frames (F,h,w,2c), the noised ones last: their velocity (T,h,w,c), and the plans of the clean ones behind the
        anchors."""
        condition = self.pose_condition(c) + self.tau_condition(c.tau)
        rotary, h = self.rotary(c.index), self.embed(frames)
        for i, m in enumerate(self.modulations(condition)):
            h = self.block(i, h, m, rotary, attend)
        velocity = self.velocity(h[-targets:], self.final_modulation(condition[-targets:]))
        return velocity, self.plan(h[anchors:-targets])

    def losses(
        self, velocity: torch.Tensor, wanted: torch.Tensor, plans: tuple[torch.Tensor, ...], plan: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean squared error of the velocity; of the plans, (N,495) each, the hypothesis that is closest."""
        mean, log_scale, logits = plans
        with torch.no_grad():
            winner = (weight[:, None] * (mean - plan[:, None]).abs()).sum(-1).argmin(1)
        at = torch.arange(len(winner))
        s = log_scale[at, winner].clamp(min=-7)
        nll = (weight * ((mean[at, winner] - plan).abs() * torch.exp(-s) + math.log(2) + s)).sum(-1) / PLAN_SIZE
        return F.mse_loss(velocity, wanted), (nll + F.cross_entropy(logits, winner, reduction="none")).mean()


class Rollout:
    """Frames one by one against keys and values that stay: `slots` frames of them, in any order, all seen."""

    def __init__(self, model: World, slots: int, taus: torch.Tensor):
        o = model.o
        self.model, self.slots, self.taus = model, slots, taus
        self.tau_table = model.tau_condition(taus)
        shape = (1, o.heads, slots * o.tokens, o.channels // o.heads)
        self.keys = [torch.randn(shape) for _ in range(o.layers)]
        self.values = [torch.randn(shape) for _ in range(o.layers)]
        self.steps = [float(a - b) for a, b in zip(taus[:-1], taus[1:])]

    def attend(self, i: int, slot: int) -> Attend:
        s = self.model.o.tokens

        def call(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            self.keys[i][:, :, slot * s : (slot + 1) * s] = k
            self.values[i][:, :, slot * s : (slot + 1) * s] = v
            return F.scaled_dot_product_attention(q, self.keys[i], self.values[i])

        return call

    def tokens(
        self, x: torch.Tensor, before: torch.Tensor, slot: int, blocks: list[torch.Tensor], row: int, rotary: tuple
    ) -> torch.Tensor:
        h = self.model.embed(torch.cat((x, before), -1))
        for i, m in enumerate(blocks):
            h = self.model.block(i, h, m[row : row + 1], rotary, self.attend(i, slot))
        return h

    def sample(self, noise: torch.Tensor, before: torch.Tensor, c: Conditions, slot: int) -> torch.Tensor:
        """Euler steps from noise (1,h,w,c)."""
        condition = self.model.pose_condition(c) + self.tau_table[:-1]
        blocks, final = self.model.modulations(condition), self.model.final_modulation(condition)
        rotary, x = self.model.rotary(c.index), noise
        for k, step in enumerate(self.steps):
            h = self.tokens(x, before, slot, blocks, k, rotary)
            x = torch.add(x, self.model.velocity(h, final[k : k + 1]), alpha=step)
        return x

    def append(self, latent: torch.Tensor, before: torch.Tensor, c: Conditions, slot: int) -> None:
        blocks = self.model.modulations(self.model.pose_condition(c) + self.tau_table[-1:])
        self.tokens(latent, before, slot, blocks, 0, self.model.rotary(c.index))

    def prefill(self, frames: torch.Tensor, c: Conditions, attend: Attend) -> None:
        """Keys and values of clean frames (F,h,w,2c), in the first slots; attend knows their mask."""
        length = frames.shape[0] * self.model.o.tokens
        blocks = self.model.modulations(self.model.pose_condition(c) + self.tau_table[-1:])
        rotary, h = self.model.rotary(c.index), self.model.embed(frames)
        for i, m in enumerate(blocks):

            def keep(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, i: int = i) -> torch.Tensor:
                self.keys[i][:, :, :length] = k
                self.values[i][:, :, :length] = v
                return attend(q, k, v)

            h = self.model.block(i, h, m, rotary, keep)
