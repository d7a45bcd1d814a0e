"""Why selections have picked no unit, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

SILENT = "; redo with allow_full redraws layers that put out nothing"


def why_none_was_picked(
    missed: str | None, *, ranked: bool, criterion: str, of_loss: bool, silent: Sequence[str], broken: Sequence[str]
) -> str | None:
    """The reason, as far as it is known; None where it is not.

    Args:
        missed: why the selection has picked none of the units that were ranked; None where it does not tell.
        ranked: whether there were any, or what is due waits.
        criterion: its name.
        of_loss: whether it looks at gradients of the loss, which may be zero although units are active.
        silent: names of networks in which all utilities of a layer were zero.
        broken: of those in which utilities were no finite numbers.
    """
    remedy = "" if of_loss else SILENT
    if ranked:
        found = [] if missed is None else [missed]
        if silent:
            found.append(f"all utilities of a layer of {' and '.join(silent)} were zero, so that it was left{remedy}")
        if broken:
            found.append(f"utilities of {' and '.join(broken)} were no finite numbers")
        return "; ".join(found) or None
    if silent:
        return f"all utilities that the criterion {criterion!r} gave were zero, so that it ranked nothing{remedy}"
    if broken:
        return f"the utilities that the criterion {criterion!r} gave were no finite numbers"
    return "no unit had both a utility and the age to be selected when a period ended"
