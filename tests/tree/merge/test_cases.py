"""Each row of the table of cases: what two views did to a volume, and what the second commit makes of it."""

from collections.abc import Callable

import pytest

from tests.tree.memory import Memory
from tests.tree.merge.shape import Shape, numbers, read
from volfs.tree.merge import Merged, merge

Act = Callable[[Shape], object]
SEQ = 7


def run(before: Act, mine: Act, theirs: Act) -> tuple[dict[str, int], Shape, Merged]:
    """(paths with the content of each file, 0 for directories; the shape; the merge)."""
    memory = Memory()
    base = Shape()
    before(base)
    left, right = base.copy(), base.copy()
    mine(left)
    theirs(right)
    merged = merge(
        memory.load,
        memory.emit,
        base.tree(memory),
        left.tree(memory),
        right.tree(memory),
        seq=SEQ,
        fresh_numbers=lambda: next(numbers),
    )
    shape = read(memory, merged.root)
    return {path: shape.files.get(ino, (0, 0))[0] for path, ino in shape.paths().items()}, shape, merged


def acts(text: str) -> Act:
    """`mkdir d; w d/x 1; mv a b; rm a; save a 2; ch a 600; ln a b; xchg a b`"""

    def act(shape: Shape) -> None:
        for step in filter(None, (part.strip() for part in text.split(";"))):
            verb, *rest = step.split()
            done = {
                "mkdir": lambda a: shape.mkdir(a),
                "w": lambda a, c: shape.write(a, int(c)),
                "save": lambda a, c: shape.save(a, int(c)),
                "mv": lambda a, b: shape.move(a, b),
                "rm": lambda a: shape.remove(a),
                "ch": lambda a, m: shape.chmod(a, int(m, 8)),
                "ln": lambda a, b: shape.link(a, b),
                "xchg": lambda a, b: shape.exchange(a, b),
            }[verb](*rest)
            assert done, step

    return act


DX = "mkdir d; w d/x 1"
ABX = "mkdir a; w a/x 1; mkdir b; w b/y 2"

CASES = [
    (DX, "mv d e", "w d/new 2", {"e": 0, "e/x": 1, "e/new": 2}, 0),
    (DX, "w d/new 2", "mv d e", {"e": 0, "e/x": 1, "e/new": 2}, 0),
    ("w A 1", "w A 2", "mv A B", {"B": 2}, 0),
    ("w A 1", "mv A B", "w A 2", {"B": 2}, 0),
    ("w A 1", "save A 2", "mv A B", {"A": 2, "B": 1}, 0),
    (DX, "rm d", "w d/new 2", {"d": 0, "d/new": 2}, 0),
    (DX + "; w d/y 2", "w d/x 3", "rm d", {"d": 0, "d/x": 3}, 0),
    (DX, "rm d", "mv d e", {"e": 0, "e/x": 1}, 0),
    (DX + "; mkdir e; w e/y 2", "mv d e/d", "rm e", {"e": 0, "e/d": 0, "e/d/x": 1}, 0),
    (ABX, "mv a b/a", "mv b a/b", {"a": 0, "a/x": 1, "a/b": 0, "a/b/y": 2}, 1),
    ("mkdir a; w a/x 1; mkdir b", "xchg a b", "w a/new 2", {"a": 0, "b": 0, "b/x": 1, "b/new": 2}, 0),
    ("", "mkdir o; w o/m 1", "mkdir o; w o/h 2", {"o": 0, "o/m": 1, "o/h": 2}, 0),
    ("", "mkdir o; w o/m 1", "w o 2", {"o": 0, "o/m": 1, "o.conflict-7": 2}, 1),
    ("", "w o 2", "mkdir o; w o/m 1", {"o": 0, "o/m": 1, "o.conflict-7": 2}, 1),
    (DX, "rm d; mkdir d; w d/m 2", "w d/h 3", {"d": 0, "d/m": 2, "d/h": 3}, 0),
    ("w f 1", "ln f g", "ln f h", {"f": 1, "g": 1, "h": 1}, 0),
    ("w f 1", "w f 2", "ln f g; rm f", {"g": 2}, 0),
    ("w f 1", "w f 2", "rm f", {"f": 2}, 0),
    ("w f 1", "rm f", "w f 2", {}, 1),
    ("w f 1", "rm f", "save f 2", {}, 1),
    ("w f 1", "w f 2", "w f 3", {"f": 2}, 1),
    ("w f 1", "mv f g", "mv f h", {"g": 1}, 0),
    ("w f 1; w g 2", "mv f g", "w g 3", {"g": 1}, 1),
    ("w f 1", "w g 2", "w g 3", {"f": 1, "g": 2}, 1),
    ("w f 1", "mv f g", "rm f", {"g": 1}, 0),
    (DX, "mv d e", "rm d", {"e": 0, "e/x": 1}, 0),
]


@pytest.mark.parametrize(("before", "mine", "theirs", "expected", "lines"), CASES)
def test_case(before: str, mine: str, theirs: str, expected: dict[str, int], lines: int) -> None:
    found, _, merged = run(acts(before), acts(mine), acts(theirs))
    assert found == expected
    assert len(merged.lines) == lines, merged.lines


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ("ch f 600", "w f 2", (2, 0o600)),
        ("w f 2", "ch f 600", (2, 0o600)),
        ("ch f 600", "save f 2", (2, 0o600)),
    ],
)
def test_content_and_mode_are_two_things(mine: str, theirs: str, expected: tuple[int, int]) -> None:
    _, shape, merged = run(acts("w f 1"), acts(mine), acts(theirs))
    assert shape.files[shape.at("f")] == expected
    assert merged.lines == ()


def test_hard_links_of_both_sides_are_one_file() -> None:
    _, shape, _ = run(acts("w f 1"), acts("ln f g"), acts("ln f h"))
    assert shape.at("f") == shape.at("g") == shape.at("h")
