from {{ cookiecutter.package_name }}.core.cache.memory import (
    MAX_ENTRIES,
    MemoryBackend,
)


def test_least_recently_used_value_is_evicted() -> None:
    memory = MemoryBackend()
    for number in range(MAX_ENTRIES):
        memory.set(f"{number}", b"", 60)
    assert memory.get_many(["0"]) == [b""]
    memory.set("new", b"", 60)
    assert memory.get_many(["0", "1", "2", "new"]) == [b"", None, b"", b""]


def test_values_expire() -> None:
    memory = MemoryBackend()
    memory.set("old", b"", -1)
    assert memory.get_many(["old"]) == [None]
    assert memory.add("old", b"new", 60)
    assert not memory.add("old", b"newer", 60)
    assert memory.get_many(["old"]) == [b"new"]


def test_keys_are_listed_and_deleted() -> None:
    memory = MemoryBackend()
    for key in ("a:1", "a:2", "b:1"):
        memory.set(key, b"", 60)
    assert sorted(memory.keys("a:")) == ["a:1", "a:2"]
    memory.delete(["a:1", "nowhere"])
    assert sorted(memory.keys("")) == ["a:2", "b:1"]
    memory.ping()
