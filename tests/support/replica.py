"""One of two processes that train copies of a network."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from agents.plasticity import CBP, GXD, Auto, PlasticOptimizer, UnitReset
from agents.plasticity.auto import watching
from agents.plasticity.auto.gauge import Gauge


class Mended(Gauge):
    """By which whatever changes networks mends them."""

    def again(self, *args: Any) -> float:
        super().again(*args)  # replicas do this together
        return 9.0


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 20), nn.Linear(20, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.body(x)))


def main(rank: int, home: str) -> None:
    """Train copy number `rank`, and put what it ends with into `home`."""
    folder = Path(home)
    watching.Gauge = Mended
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=(folder / "meeting").as_uri(), rank=rank, world_size=2)
    torch.manual_seed(0)
    net = Net()
    torch.manual_seed(10 + rank)  # data of its own
    x = torch.randn(64, 4)
    model = nn.parallel.DistributedDataParallel(net)
    resets = [
        GXD(rate=0.01, period=5, maturity=5, score_every=1),
        CBP(rate=0.02, compensate=True, period=6, maturity=5, score_every=1),
        UnitReset(
            criterion="gxd", selection={"name": "budget", "share": 0.1}, surgery={"outgoing": "small_random"},
            period=7, maturity=0, score_every=1,
        ),
        # Ill for ever; of the candidates one ranks by gradients, and the other changes nothing.
        Auto(
            candidates=[
                {"name": "swr", "rate": 0.1, "period": 2, "score_every": 1},
                {"name": "shrink_and_perturb", "mode": "boundary", "shrink": 1.0, "perturb": 0.0},
            ],
            period=10, threshold=9.0, budget=1e6, steps=5,
        ),
    ]  # fmt: skip
    optimizer = PlasticOptimizer(
        torch.optim.Adam(model.parameters(), lr=1e-2), model, resets, seed=rank,
        sample=lambda n, generator: x[:n], sample_losses=lambda x: net(x).square().mean(1), outputs=net,
    )  # fmt: skip
    for step in range(30):
        optimizer.zero_grad()
        with optimizer.forward():
            loss = (model(x) - x[:, :1].sin()).square().mean()
        if step % 2:
            optimizer.step(loss)
        else:
            loss.backward()
            optimizer.step()
    uneven = torch.tensor([[1.0, float("nan"), float("nan")], [3.0, 5.0, float("nan")]][rank])
    end = {
        "net": net.state_dict(),
        "count": optimizer.units_reset()["net"],
        "decided": json.dumps(resets[-1].state_dict()),
        "seed": optimizer.seed,
    }
    torch.save({**end, "mean": optimizer.replicas.mean({"it": uneven})["it"]}, folder / f"{rank}.pt")
    distributed.destroy_process_group()
