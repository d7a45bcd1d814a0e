"""How kernels are compiled."""

from pathlib import Path

from agents.speed.kernels.compiling import VERSION, compiled


def _double(x: int) -> int:
    return 2 * x


def test_the_copy_on_disk_is_known_by_all_files_that_kernels_are_made_of() -> None:
    found = compiled(_double)
    assert found(3) == 6
    kept = list(Path(found.stats.cache_path).glob(f"test_compiling._double_{VERSION}-*"))  # type: ignore[attr-defined]
    assert {path.suffix for path in kept} == {".nbi", ".nbc"}


def test_where_nothing_can_be_kept_on_disk_kernels_are_compiled_all_the_same() -> None:
    names: dict[str, object] = {}
    exec("def triple(x): return 3 * x", names)  # of no file, so that there is no place for it
    assert compiled(names["triple"])(3) == 9  # type: ignore[type-var]
