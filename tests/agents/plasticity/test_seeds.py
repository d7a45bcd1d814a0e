"""Seeds that depend on what they are for."""

from agents.plasticity.seeds import derive_seed


def test_seeds_differ_by_every_part_and_are_the_same_everywhere() -> None:
    seeds = {derive_seed(*parts) for parts in [(1, "gxd"), (2, "gxd"), (1, "redo"), (1, "gxd", "actor.0"), (1,)]}
    assert len(seeds) == 5
    assert derive_seed(1, "gxd") == 6556830718758049422
    assert all(0 <= seed < 2**63 for seed in seeds)
