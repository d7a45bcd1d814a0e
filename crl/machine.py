"""What the bits of a run depend on beside its config."""

from __future__ import annotations

import torch

from crl.versions import COMPUTING, crl_version, installed, processor_name


def machine(device: torch.device) -> dict[str, str]:
    """The versions and the hardware that a run on a device has here."""
    packages = {package: installed(package) for package in COMPUTING} | {"crl": crl_version()}
    return {"torch": str(torch.__version__), **packages, "cpu": processor_name(), "device": _described(device)}


def _described(device: torch.device) -> str:
    """Its kind: numbers do not depend on which of several equal ones it is."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type
