"""What the measures of plasticity are called, and which belong together. Importing this loads nothing."""

from __future__ import annotations

PLASTICITY: dict[str, dict[str, str]] = {  # category -> measure of `Diagnostics` -> what it is called
    "plasticity: trainability": {
        "trainability": "trainability",
        "policy_trainability": "trainability by the policy gradient",
    },
    "plasticity: units": {
        "dormant_ratio": "dormant ratio",
        "grama_ratio": "GraMa ratio",
        "fau": "fraction of active units",
        "saturated_fraction": "saturated fraction",
    },
    "plasticity: ranks": {
        "effective_rank": "effective rank",
        "srank": "srank",
        "stable_rank": "stable rank",
        "dominant_share": "dominant share",
        "ntk_rank": "NTK rank",
    },
    "plasticity: change": {
        "value_churn": "value churn, squared",
        "value_churn_abs": "value churn, absolute",
        "signal": "learning signal",
        "grad_norm": "gradient norm",
        "update_norm": "update norm",
        "weight_norm": "weight norm",
    },
    "plasticity: policy": {
        "entropy": "entropy",
        "saturation": "saturation",
        "policy_churn": "policy churn",
    },
    "plasticity: dormant units at other thresholds": {
        "dormant_ratio_0": "dormant ratio at 0",
        "dormant_ratio_0.1": "dormant ratio at 0.1",
    },
}
