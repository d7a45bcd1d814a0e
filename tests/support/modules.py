"""Ordinary modules, as users write them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Mlp(nn.Module):
    """A function, a method, a reused activation module, and a layer norm in front of it."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(6, 5)
        self.norm, self.act, self.out = nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.two(torch.relu(self.one(x))))
        return self.out(self.act(self.norm(self.three(x))))


class ActorCritic(nn.Module):
    """A CNN with batch norm, an optional argument that it is not given, two heads, and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3, bias=False)
        self.norm, self.drop, self.hidden = nn.BatchNorm2d(6), nn.Dropout(0.1), nn.Linear(6 * 4, 10)
        self.actor, self.critic = nn.Linear(10, 3), nn.Linear(10, 1)
        self.log_std = nn.Parameter(torch.full((3,), -0.5))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        if mask is not None:
            x = x * mask
        x = F.max_pool2d(F.relu(self.first(x / 255.0)), 2, 1)
        x = F.silu(self.norm(self.second(x)))
        h = F.gelu(self.hidden(self.drop(x).view(x.size(0), -1)))
        return self.actor(h), self.log_std.exp().expand(3), self.critic(h)


class Residual(nn.Module):
    """A pre-norm trunk of two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Linear(4, 6), nn.Linear(6, 2)
        self.blocks = nn.ModuleList([
            nn.ModuleDict({"norm": nn.LayerNorm(6), "up": nn.Linear(6, 12), "down": nn.Linear(12, 6)}) for _ in range(2)
        ])  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = x + block["down"](F.silu(block["up"](block["norm"](x))))
        return self.out(F.relu(x))


class Observations(nn.Module):
    """A dict of inputs, an assert, pooling over positions, a concatenation, and a gate of its own units."""

    def __init__(self) -> None:
        super().__init__()
        self.eyes, self.body, self.join, self.q = nn.Conv2d(3, 5, 3), nn.Linear(7, 4), nn.Linear(11, 6), nn.Linear(6, 3)

    def forward(self, obs: dict[str, Tensor]) -> Tensor:
        assert obs["image"].shape[1] == 3
        seen = torch.relu(self.eyes(obs["image"])).mean((2, 3))
        h = self.join(torch.cat([seen, obs["action"], F.elu(self.body(obs["vector"]))], dim=-1))
        q = self.q(h * torch.sigmoid(h))
        return q - q.mean(1, keepdim=True)

    @staticmethod
    def example(n: int = 3) -> dict[str, Tensor]:
        return {"image": torch.rand(n, 3, 4, 4), "vector": torch.randn(n, 7), "action": torch.randn(n, 2)}


class Policy(nn.Module):
    """Puts out a distribution, and works in place on a sequence of inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.actor = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> torch.distributions.Categorical:
        return torch.distributions.Categorical(logits=self.actor(self.hidden(x).relu_()))
