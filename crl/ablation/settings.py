"""Where the runs of an ablation are trained: the names of the launchers, what each can be told, and what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated

from pydantic import AfterValidator

from crl.config import ConfigError
from crl.config.fields import Count, Flag, Model, Share
from crl.config.messages import nearest, refusal, shortened

LOCAL, RAY, SLURM = "local", "ray", "slurm"
MOST_AT_ONCE = 1000  # runs that a cluster is given, unless more are asked for: Slurm's arrays have no more by default
NEEDS = {LOCAL: "", RAY: "ray", SLURM: "submitit"}
"""Launcher -> the package that it needs beside crl's own."""


def _one_line(text: str) -> str:
    if not text or not text.isprintable():  # a second one would be a command of the job's script
        raise refusal("is not one line of text")
    return text


Text = Annotated[str, AfterValidator(_one_line)]


class RayConfig(Model):
    """What a task of Ray takes beside one CPU.

    Attributes:
        num_gpus: share of a GPU; 0.25 puts four runs on one.
    """

    num_gpus: Share = 0.0


class SlurmConfig(Model):
    """What a job of Slurm is given, by the names that submitit's `SlurmExecutor` has for it.

    They are sbatch's options, but for those told here. A job is one run, so that there is no number of nodes or tasks.

    Attributes:
        time: minutes, after which a run saves and its job is queued again; submitit's own default is 5.
        array_parallelism: jobs that go on at once.
        signal_delay_s: seconds before the end of its time at which a run begins to save.
        setup: commands of the shell before it.
        teardown: and after it.
        srun_args: options of srun.
        use_srun: start it by srun.
        additional_parameters: further options of sbatch, such as {reservation: mine}.
    """

    time: Count = 60
    array_parallelism: Count = 256
    signal_delay_s: Count = 90
    job_name: Text | None = None
    partition: Text | None = None
    account: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None
    nodelist: Text | None = None
    exclude: Text | None = None
    exclusive: Flag | None = None
    cpus_per_task: Count = 1
    mem: Text | None = None
    mem_per_cpu: Text | None = None
    mem_per_gpu: Text | None = None
    gpus_per_node: Count | None = None
    gres: Text | None = None
    comment: Text | None = None
    wckey: Text | None = None
    mail_type: Text | None = None
    mail_user: Text | None = None
    setup: list[Text] | None = None
    teardown: list[Text] | None = None
    srun_args: list[Text] | None = None
    use_srun: Flag = True
    additional_parameters: dict[Text, Text | int] | None = None


def check_launcher(launcher: str, overrides: Sequence[str]) -> None:
    """Refuse a launcher that is not known or not installed, and changes to anything but its section.

    Raises:
        ConfigError: one of these.
    """
    if launcher not in NEEDS:
        raise ConfigError(f"--launcher={shortened(launcher)} is not known; {nearest(launcher, NEEDS)}")
    for override in overrides:
        if launcher == LOCAL or override.partition(".")[0] != launcher:
            raise ConfigError(
                f"{shortened(override)!r} is no setting of --launcher {launcher}; those of ray and slurm are given "
                "here, such as ray.num_gpus=0.5 or slurm.time=240, and all else in the file"
            )
    needed = NEEDS[launcher]
    if needed and find_spec(needed) is None:
        raise ConfigError(
            f"--launcher {launcher} needs {needed}, which is not installed; run pip install -e '.[{launcher}]'"
        )
