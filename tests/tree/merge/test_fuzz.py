"""The merge's invariants over random chains; VOLFS_FUZZ_MERGES says how many merges."""

import os
import random

from tests.tree.merge.fuzz import chain


def test_no_chain_of_commits_and_reloads_breaks_an_invariant() -> None:
    wanted, seed = int(os.environ.get("VOLFS_FUZZ_MERGES", "6000")), random.randrange(1 << 30)
    done = 0
    while done < wanted:
        seed += 1
        print(f"seed {seed}")
        done += chain(seed, 60)
