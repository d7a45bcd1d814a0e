"""`crl diagnose`: what ails the networks of a run, if anything does.

What can be refused without a class or a device is refused here, before anything heavy is imported.
"""

from __future__ import annotations

from pathlib import Path

from crl.audit import sample_size
from crl.config import imported
from crl.exit_codes import DONE
from crl.opening import opened
from crl.run_folder import check_home, check_trained

FOLDER = "diagnosis"


def diagnose(
    folder: Path,
    checkpoint: int | None = None,
    compare: Path | None = None,
    steps: int | None = None,
    go_on: int = 0,
) -> int:
    """Diagnose a run, print what was found, and write it to the folder ``diagnosis`` in the run's.

    Nothing else in the run's folder is touched, and nothing in the other one's.

    Args:
        folder: of the run.
        checkpoint: a step that is kept; None for the newest.
        compare: folder of a run, which may be the same, whose newest checkpoint is diagnosed, too, and shown beside it.
        steps: of the fit probe; None for 100.
        go_on: steps of the games for which an ill agent goes on with the best remedies; 0 for not at all.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: something does not fit; nothing has been written.
    """
    runs = [(folder, checkpoint), *([] if compare is None else [(compare, None)])]
    for run, _ in runs:
        check_trained(run)
    check_home(folder / FOLDER)
    found = []
    for run, at in runs:
        with opened(run) as config:
            config = imported(config)
            samples = sample_size(config.agent, None)
            from crl.diagnosis.measuring import examined

            found.append(examined(run, config, at, samples, steps, go_on))
    from crl.diagnosis.report import show, write_json
    from crl.screen import say

    show(found)
    if go_on and not any(run.trials for run in found):
        say("--continue: no network is known to learn less than fresh ones, so that nothing was tried or went on")
    write_json(folder / FOLDER / f"{found[0].steps}.json", found)
    return DONE
