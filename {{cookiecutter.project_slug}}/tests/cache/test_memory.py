from {{ cookiecutter.package_name }}.cache.memory import SIZE, MemoryBackend


def test_what_was_not_used_for_long_makes_room() -> None:
    memory = MemoryBackend()
    for number in range(SIZE):
        memory.set(f"{number}", b"", 60)
    assert memory.get_many(["0"]) == [b""]
    memory.set("new", b"", 60)
    assert memory.get_many(["0", "1", "2", "new"]) == [b"", None, b"", b""]


def test_a_value_ends() -> None:
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


def test_it_answers_always_and_says_what_it_is() -> None:
    MemoryBackend().ping()
    assert MemoryBackend().describe()["most keys"] == SIZE
