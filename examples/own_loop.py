"""GXD resets in a training loop of one's own: the target function changes every 500 steps."""

import torch
from torch import nn

from agents.plasticity import GXD, PlasticOptimizer


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(8, 64), nn.Linear(64, 64), nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.two(torch.relu(self.one(x)))))


torch.manual_seed(0)
model = Net()
optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [GXD(rate=1e-3, period=100, maturity=100)])

for step in range(2000):
    if step % 500 == 0:
        world = torch.randn(8, 1)
    x = torch.randn(64, 8)
    with optimizer.forward():
        loss = (model(x) - (x @ world / 8**0.5).sin()).square().mean()
    optimizer.step(loss)

print(f"loss {loss.item():.3f}, units reset {optimizer.units_reset()}")
