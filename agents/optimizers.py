"""The optimizers that the networks of an agent can have, one record each. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agents import settings
from agents.plasticity.registry import resolve
from agents.settings import Pair, Setting

if TYPE_CHECKING:
    from agents.specs import AgentSpec

ADAM = "adam"
"""The default, Stable-Baselines3's own, whose settings are ``policy_kwargs["optimizer_kwargs"]``."""


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer.

    Attributes:
        target: where its class is, "module:attribute".
        summary: what it does, in one line.
        settings: argument of its constructor -> what a config can give for it; ``eps`` of None is the agent's.
        paper: where it was published.
        cost: what it adds to the time of gradient steps of PPO, and of DQN at batches of 32, with Adam.
    """

    target: str
    summary: str
    settings: Mapping[str, Setting] = field(default_factory=dict, repr=False)
    paper: str = ""
    cost: str = ""


def adam_settings(eps: float) -> dict[str, Setting]:
    """What configs give of the Adam of SB3's policies, whose `eps` this is."""
    return {
        "eps": Setting(float, eps, "added to the root of the second moments", ge=0),
        "betas": Setting(Pair, (0.9, 0.999), "decay rates of the two moments", check=settings.decay_rates),
        "weight_decay": Setting(float, 0.0, "weights times this are added to their gradients", ge=0),
    }


_MOMENTS = {
    "betas": Setting(Pair, (0.9, 0.999), "decay rates of Adam's two moments", check=settings.decay_rates),
    "eps": Setting(float, None, "added to the root of the second moments; null for what SB3 gives Adam: 1e-5 of "
                   "ppo, 1e-8 of the others", ge=0),
}  # fmt: skip


def _decay(default: float) -> dict[str, Setting]:
    return {"weight_decay": Setting(float, default, "lr times this is taken off weights, relatively", ge=0)}


OPTIMIZERS: dict[str, OptimizerSpec] = {
    ADAM: OptimizerSpec(
        "torch.optim:Adam", "SB3's own, the default; its settings are agent.policy_kwargs.optimizer_kwargs",
        paper="arXiv 1412.6980",
    ),
    "adamw": OptimizerSpec(
        "torch.optim:AdamW", "Adam with weight decay beside it", {**_decay(0.01), **_MOMENTS}, paper="arXiv 1711.05101",
        cost="about 1%, DQN 8%",
    ),
    "rmsprop": OptimizerSpec(
        "torch.optim:RMSprop", "gradients over the root of their mean square",
        {
            "alpha": Setting(float, 0.99, "decay rate of the mean square", ge=0, check=settings.below_1),
            "eps": Setting(float, 1e-8, "added to its root", ge=0),
            "momentum": Setting(float, 0.0, "decay rate of a momentum; 0 for none", ge=0, check=settings.below_1),
            "centered": Setting(bool, False, "the variance takes the place of the mean square"),
            "weight_decay": Setting(float, 0.0, "weights times this are added to their gradients", ge=0),
        },
        paper="arXiv 1308.0850", cost="nothing",
    ),
    "trac": OptimizerSpec(
        "agents.plasticity.optimizers:TRAC", "scale Adam's way from the first weights by tuners without parameters",
        _MOMENTS, paper="arXiv 2405.16642", cost="about 4%, DQN 17%",
    ),
    "upgd": OptimizerSpec(
        "agents.plasticity.optimizers:UPGD", "move useful weights less, and perturb all others",
        {
            "sigma": Setting(float, 1e-3, "standard deviation of the noise, in steps of Adam's; 0 for none", ge=0),
            "beta_utility": Setting(float, 0.999, "decay rate of the utilities", ge=0, check=settings.below_1),
            **_decay(1e-3),
            "lr_factor": Setting(float, 2.0, "factor on the learning rate, since useless weights go half steps", gt=0),
            "local": Setting(bool, False, "utilities are compared within their tensor, not with those of all"),
            "betas": _MOMENTS["betas"],
            "eps": Setting(float, 1e-5, "added to the root of the second moments", ge=0),
        },
        paper="arXiv 2302.03281", cost="about 11%, DQN 28%",
    ),
    "adamo": OptimizerSpec(
        "agents.plasticity.optimizers:AdamO", "Adam, and draw hidden layers to isometries beside it",
        {
            "coefficient": Setting(float, 1e-3, "strength; 0 for Adam", ge=0),
            "scale": Setting(float, 1.0, "square that the singular values are drawn to", gt=0),
            **_MOMENTS,
        },
        paper="arXiv 2606.09762", cost="about 4%, DQN 17%",
    ),
    "muon": OptimizerSpec(
        "agents.plasticity.optimizers:Muon", "orthogonal steps for hidden linear layers, AdamW for all else",
        {
            "momentum": Setting(float, 0.95, "decay rate of Muon's momentum", ge=0, check=settings.below_1),
            "nesterov": Setting(bool, True, "the momentum looks a step ahead"),
            "adjust_lr_fn": Setting(
                str, "match_rms_adamw",
                "how a weight's shape scales its steps: match_rms_adamw, to the size of AdamW's, or original",
                check=settings.adjustment,
            ),
            **_decay(0.1),
            **_MOMENTS,
        },
        paper="arXiv 2502.16982",
        cost="many gradient steps on a CPU without bfloat16: it is for GPUs",
    ),
}  # fmt: skip
"""Name in configs -> record."""


def with_optimizer(
    policy_kwargs: dict[str, Any] | None, optimizer: str | Mapping[str, Any] | None, spec: AgentSpec
) -> dict[str, Any] | None:
    """SB3's arguments of a policy, with an optimizer that is given by its name.

    Args:
        policy_kwargs: as in SB3, also with an ``optimizer_class`` of one's own.
        optimizer: name, or mapping of it (``name``) and its settings; None for what `policy_kwargs` say.
        spec: of the agent.

    Raises:
        ValueError: it is not known or a class, does not take one of the settings, or `policy_kwargs` give one, too.
    """
    if optimizer is None:
        return policy_kwargs
    given = dict(optimizer) if isinstance(optimizer, Mapping) else {"name": optimizer}
    name, arguments = given.pop("name", None), dict(policy_kwargs or {})
    if isinstance(name, type):
        raise ValueError(f'optimizer is the class {name.__name__}; give policy_kwargs={{"optimizer_class": ...}}')
    if not isinstance(name, str) or name not in OPTIMIZERS:
        raise ValueError(f"optimizer is {name!r}; choose from {', '.join(OPTIMIZERS)}")
    known = OPTIMIZERS[name].settings
    if strange := [key for key in given if key not in known]:
        of_adam = 'policy_kwargs={"optimizer_kwargs": {...}}'
        remedy = f"give {of_adam}" if name == ADAM else f"choose from {', '.join(known)}"
        raise ValueError(f"optimizer.{strange[0]} is no setting of {name}; {remedy}")
    for key in ("optimizer_class",) if name == ADAM else ("optimizer_class", "optimizer_kwargs"):
        if key in arguments:
            raise ValueError(f"optimizer is {name!r}, but policy_kwargs has {key!r} too; give one of them")
    if name == ADAM:
        return policy_kwargs
    settled = {key: setting.default for key, setting in known.items()} | given
    if settled.get("eps", 0.0) is None:
        settled["eps"] = spec.adam_eps
    return {**arguments, "optimizer_class": resolve(OPTIMIZERS[name].target), "optimizer_kwargs": settled}
