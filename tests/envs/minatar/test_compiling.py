"""How kernels are compiled."""

from pathlib import Path

from envs.minatar.compiling import SHARED_VERSION, kernel


def _double(x: int) -> int:
    return 2 * x


def test_the_copy_on_disk_is_known_by_what_kernels_share() -> None:
    compiled = kernel(_double)
    assert compiled(3) == 6
    kept = list(Path(compiled.stats.cache_path).glob(f"test_compiling._double_{SHARED_VERSION}-*"))  # type: ignore[attr-defined]
    assert {path.suffix for path in kept} == {".nbi", ".nbc"}


def test_where_nothing_can_be_kept_on_disk_kernels_are_compiled_all_the_same() -> None:
    names: dict[str, object] = {}
    exec("def triple(x): return 3 * x", names)  # of no file, so that there is no place for it
    assert kernel(names["triple"])(3) == 9  # type: ignore[type-var]
