"""Who waits while a view moves to another commit. May import: trio. Must not know: views."""

import trio


class Gate:
    """`swapped`: the view shows its new tree (or the reload was refused). `done`: the kernel has dropped the old one.

    An OPEN waits for `done`, or it would count against the reload and could meet the kernel's old size. A CREATE waits
    for `swapped` only: the kernel holds its directory's lock, which an invalidation in that directory needs.
    """

    def __init__(self) -> None:
        self.swapped = trio.Event()
        self.done = trio.Event()
