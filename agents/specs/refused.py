"""Arguments of constructors that no config gives, and why."""

from __future__ import annotations

NOT_IN_CONFIGS: dict[str, str] = {
    "policy": "follows from agent.features; leave it out",
    "env": "is the section stream; leave it out",
    "interventions": "is a section of its own; give interventions",
    "at_switch": "is a section of its own; give at_switch",
    "seed": "is the run's; give seed",
    "device": "is the run's; give device",
    "verbose": "is not needed, since a run shows its progress; leave it out",
    "tensorboard_log": "is not needed, since the run's folder has the events; leave it out",
    "stats_window_size": "is not needed, since a run's returns are over the last 100 episodes of a task; leave it out",
    "_init_setup_model": "is SB3's own; leave it out",
    "replay_buffer_class": "is a class, which Python alone can give to agents.DQN, SAC or TD3; leave it out",
    "rollout_buffer_class": "is a class, which Python alone can give to agents.PPO; leave it out",
    "rollout_buffer_kwargs": "belongs to a class that Python alone can give to agents.PPO; leave it out",
}
"""Argument of a learner's constructor that no config gives -> why, and what to do, behind its name."""
POLICY_NOT_IN_CONFIGS: dict[str, str] = {
    "net_arch": "has a key of its own; give agent.net_arch",
    "activation_fn": "has a key of its own; give agent.activation",
    "features_extractor_class": "has a key of its own; give agent.features",
    "features_extractor_kwargs": "follows from agent.features; leave it out",
    "use_sde": "has a key of its own; give agent.use_sde",
    "optimizer_class": "has a key of its own; give agent.optimizer",
    "observation_space": "is that of the stream; leave it out",
    "action_space": "is that of the stream; leave it out",
    "lr_schedule": "has a key of its own; give agent.learning_rate",
}
"""As `NOT_IN_CONFIGS`, of the policy's constructor."""
