"""What hosts did to one volume, and what its log must make of that: a naive replay, path by path. Pure.

Content is told by a tag: every byte of a file follows from the line it begins with. Histories have neither moves nor
hard links, so that a path says all: a commit's changes are the paths whose tag differs between what its view showed and
what that view stood on, and the last commit of a path wins.
"""

import random
from dataclasses import dataclass, field

Tree = dict[str, str]  # path -> tag
_EVENTS_TOLD = 8  # before one that is wrong
_SIZES = (0, 10, 500, 5000, 5000, 100_000, 1_300_000)


def content(tag: str) -> bytes:
    chance = random.Random(tag)
    return f"{tag}\n".encode() + chance.randbytes(chance.choice(_SIZES))


def tag_of(data: bytes) -> str:
    """An empty file has the tag "". Raises AssertionError for bytes that nobody wrote."""
    tag = data.partition(b"\n")[0].decode("ascii", "replace")
    if not data or content(tag) == data:
        return tag
    raise AssertionError(f"wrong bytes: {len(data)} that begin with {data[:60]!r}")


@dataclass(frozen=True)
class Attempt:
    """One call of commit: what the view showed then, and the commit's number if it was acknowledged (0: there was
    nothing to commit)."""

    message: str
    shown: Tree
    seq: int | None


@dataclass(frozen=True)
class Based:
    """After a reload or mount with nothing uncommitted: the view stands on commit *seq* and showed *shown*.

    *kept*: what it had shown before; a mount may have kept that.
    """

    seq: int
    shown: Tree
    kept: Tree | None = None


@dataclass
class Journal:
    """One host's, in order."""

    events: list[Attempt | Based] = field(default_factory=list)

    @property
    def attempts(self) -> list[Attempt]:
        return [event for event in self.events if isinstance(event, Attempt)]

    def base(self, index: int, logged: set[str]) -> Tree:
        """What the view stood on at an event. *logged* are the log's messages."""
        for event in reversed(self.events[:index]):
            if isinstance(event, Based):
                return event.shown
            if event.message in logged:
                return event.shown
        return {}

    def changes(self, message: str, logged: set[str]) -> dict[str, str | None]:
        """Of the commit with this message: path -> tag, None for a path that went."""
        for index, event in enumerate(self.events):
            if isinstance(event, Attempt) and event.message == message:
                before, shown = self.base(index, logged), event.shown
                return {path: shown.get(path) for path in before.keys() | shown if before.get(path) != shown.get(path)}
        raise AssertionError(f"a commit that nobody made: {message!r}")

    def broken_word(self, index: int, log: dict[int, str]) -> str:
        """What is wrong with an attempt's acknowledgement, "" for nothing. One that found its forerunner, whose answer
        was lost, and nothing new, has that one's number."""
        attempt = self.events[index]
        assert isinstance(attempt, Attempt)
        if attempt.seq is None or log.get(attempt.seq) == attempt.message:
            return ""
        if attempt.seq == 0:
            same = self.base(index, set(log.values())) == attempt.shown
            return "" if same else f"{attempt.message} as nothing to commit"
        for event in self.events[:index]:
            if isinstance(event, Attempt) and (event.message, event.shown) == (log.get(attempt.seq), attempt.shown):
                return ""
        return f"{attempt.message} as {attempt.seq}"

    def told(self, index: int, log: dict[int, str]) -> str:
        """An event and those before it, a line each with what it showed that the one before did not: what a failure
        is understood from."""
        numbers = {message: seq for seq, message in log.items()}
        first = max(0, index - _EVENTS_TOLD)
        lines = []
        for at in range(first, index + 1):
            event = self.events[at]
            before = self.events[at - 1].shown if at else {}
            if isinstance(event, Attempt):
                what = f"commit {event.message}, answered {event.seq}, in the log {numbers.get(event.message)}"
            else:
                what = f"mounted after a kill, on commit {event.seq}"
                if event.kept is None:
                    what = f"mounted or reloaded, on commit {event.seq}"
                before = before if event.kept is None else event.kept
            lines.append(f"  {what}: {changed(before, event.shown) or 'as before'}")
        return "\n".join(lines)


def replay(first: Tree, log: list[tuple[int, str]], journals: dict[str, Journal]) -> list[Tree]:
    """The tree after each commit; [0] is before any. *log* is (number, message), oldest first; the first of them made
    *first*. A message is `HOST:...`.
    """
    trees: list[Tree] = [{}, dict(first)]
    messages = {message for _, message in log}
    for _, message in log[1:]:
        tree = dict(trees[-1])
        for path, tag in journals[message.partition(":")[0]].changes(message, messages).items():
            if tag is None:
                tree.pop(path, None)
            else:
                tree[path] = tag
        trees.append(tree)
    return trees


@dataclass(frozen=True)
class Verdict:
    """Of a log: *lost* acknowledged commits that are not in it, *twice* attempts that are in it more than once,
    *surprising* unacknowledged ones that are in it (allowed), *wrong* views that differ from the replay."""

    commits: int
    lost: list[str]
    twice: list[str]
    surprising: int
    wrong: list[str]


def judge(first: Tree, log: list[tuple[int, str]], journals: dict[str, Journal], final: Tree) -> Verdict:
    by_seq = dict(log)
    messages = [message for _, message in log]
    twice = sorted({message for message in messages if messages.count(message) > 1})
    gaps = [] if [seq for seq, _ in log] == list(range(1, len(log) + 1)) else [f"numbers {sorted(by_seq)}"]
    attempts = [attempt for journal in journals.values() for attempt in journal.attempts]
    words = [
        journal.broken_word(index, by_seq)
        for journal in journals.values()
        for index, event in enumerate(journal.events)
        if isinstance(event, Attempt)
    ]
    lost = [word for word in words if word]
    surprising = sum(1 for a in attempts if a.seq is None and a.message in messages)
    trees = replay(first, log, journals)
    wrong = gaps + [f"the end: {difference(trees[-1], final)}"] * (trees[-1] != final)
    for host, journal in journals.items():
        for index, event in enumerate(journal.events):
            if isinstance(event, Based) and event.shown not in (trees[event.seq], event.kept):
                what = difference(trees[event.seq], event.shown)
                wrong.append(f"{host} on commit {event.seq}: {what}\n{journal.told(index, by_seq)}")
    return Verdict(len(log), lost, twice, surprising, wrong)


def difference(expected: Tree, found: Tree) -> str:
    paths = sorted(path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path))
    return ", ".join(f"{path}: {expected.get(path)} expected, {found.get(path)} found" for path in paths[:5])


def changed(before: Tree, after: Tree) -> str:
    paths = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return ", ".join(f"{path} {before.get(path)} -> {after.get(path)}" for path in paths[:12])
