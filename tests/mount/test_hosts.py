"""Half a minute of what `make soak` does for four."""

import os
import random
from pathlib import Path

import pytest

from tests.mount.hosts import check, run
from tests.mount.journal import Attempt, Based, Journal, Tree, content, judge, tag_of
from tests.s3 import Weed


@pytest.mark.slow
def test_sixteen_hosts_on_a_failing_store_lose_double_and_falsify_nothing(weed: Weed, tmp_path: Path) -> None:
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and /dev/fuse")
    seed = random.randrange(1 << 20)
    print(f"seed {seed}")
    figures = run(tmp_path, weed, 20, seed)
    print(figures)
    check(figures)
    assert figures.counts["acknowledged"] > 16 and figures.counts["reloads"] > 0
    assert sum(figures.faults.values()) > 20


FIRST: Tree = {"s": "x", "t": "y"}


def histories() -> dict[str, Journal]:
    """a writes s, then removes t without an answer, though the commit came to be; b, from the start on, writes t."""
    a = Journal([Based(1, FIRST), Attempt("a:1", {"s": "1", "t": "y"}, 2), Attempt("a:2", {"s": "1"}, None)])
    b = Journal([Based(1, FIRST), Attempt("b:1", {"s": "x", "t": "2"}, 4)])
    return {"a": a, "b": b}


LOG = [(1, ""), (2, "a:1"), (3, "a:2"), (4, "b:1")]
FINAL: Tree = {"s": "1", "t": "2"}


def test_a_right_log_is_found_to_be_right() -> None:
    verdict = judge(FIRST, LOG, histories(), FINAL)
    assert (verdict.lost, verdict.twice, verdict.wrong, verdict.surprising) == ([], [], [], 1)


@pytest.mark.parametrize(
    ("log", "final", "what"),
    [
        ([*LOG[:3]], {"s": "1"}, "lost"),
        ([*LOG, (5, "a:2")], FINAL, "twice"),
        (LOG, {"s": "x", "t": "2"}, "wrong"),
        ([*LOG[:3], (5, "b:1")], FINAL, "wrong"),
    ],
)
def test_a_wrong_log_is_found_to_be_wrong(log: list[tuple[int, str]], final: Tree, what: str) -> None:
    assert getattr(judge(FIRST, log, histories(), final), what)


def test_a_wrong_view_is_told_with_what_its_host_did_before() -> None:
    journals = histories()
    journals["a"].events.append(Based(3, {"s": "x"}))
    [told] = judge(FIRST, LOG, journals, FINAL).wrong
    assert told.splitlines()[0] == "a on commit 3: s: 1 expected, x found"
    assert told.splitlines()[-2:] == [
        "  commit a:2, answered None, in the log 3: t y -> None",
        "  mounted or reloaded, on commit 3: s 1 -> x",
    ]


def test_a_wrong_byte_is_found() -> None:
    data = bytearray(content("h1-7"))
    assert tag_of(bytes(data)) == "h1-7"
    data[-1] ^= 1
    with pytest.raises(AssertionError, match="wrong bytes"):
        tag_of(bytes(data))
