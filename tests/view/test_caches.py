"""The caches of a view's memory."""

import random
import weakref

from volfs.view.blocks import Recent


class Piece:
    """100 bytes, of which it is seen whether they are still held."""


def test_a_cache_holds_no_more_than_its_bound_when_things_are_used_by_turns() -> None:
    chance = random.Random(5)
    recent: Recent[Piece] = Recent(1000, lambda piece: 100)
    alive: weakref.WeakSet[Piece] = weakref.WeakSet()
    hits = 0
    for _ in range(5000):
        key = bytes((chance.randrange(30),))
        if recent.get(key) is None:
            piece = Piece()
            alive.add(piece)
            recent.put(key, piece)
            del piece
        else:
            hits += 1
        assert len(alive) <= 10
    assert hits > 500
