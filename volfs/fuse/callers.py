"""What /proc tells of the processes that ask. May import: nothing of volfs."""


def groups_of(pid: int) -> set[int]:
    """A process's supplementary groups; none of one that cannot be seen from here."""
    try:
        with open(f"/proc/{pid}/status", errors="replace") as file:
            return next((set(map(int, line.split()[1:])) for line in file if line.startswith("Groups:")), set())
    except OSError:
        return set()


def command_of(pid: int) -> str:
    """The name of a process, "" when it cannot be seen."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""
