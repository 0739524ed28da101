"""One container writes and commits, another one reloads and reads. A mount stands for the container's."""

from pathlib import Path

import volfs as modal

volume = modal.Volume.from_name("my-persisted-volume", create_if_missing=True)


def f(mount: str) -> None:
    with open(f"{mount}/bar.txt", "w") as file:
        file.write("hello")
    volume.commit(path=mount)


def g(mount: str) -> None:
    assert not Path(mount, "bar.txt").exists()
    volume.reload(path=mount)
    with open(f"{mount}/bar.txt") as file:
        print(file.read())


with volume.mounted("one") as one, volume.mounted("two") as two:
    f(one)
    g(two)
