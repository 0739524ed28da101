"""A job that is killed in the middle goes on where it was: `python crash_resumed_job.py`.

What a program has written to a mount is there until it is committed, whatever becomes of the program: a started job
looks what is done already, and does the rest. Nobody else sees a half-done job, as it commits at its end only.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import volfs

volume = volfs.Volume.from_name("job", create_if_missing=True)
ITEMS = 100


def job(mount: Path) -> None:
    done = mount / "done.txt"
    lines = done.read_bytes() if done.exists() else b""
    complete = lines[: lines.rfind(b"\n") + 1]  # the last line may be cut off
    first = complete.count(b"\n")
    print(f"starting at item {first}", flush=True)
    with open(done, "ab") as file:
        file.truncate(len(complete))
        for item in range(first, ITEMS):
            file.write(b"%d squared is %d\n" % (item, item * item))
            file.flush()  # in the mount now, and with it out of this process's hands
            if item == 41 and first == 0:
                print("killed", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)  # power, memory, an impatient scheduler
    volume.commit(path=mount)


def main() -> None:
    with tempfile.TemporaryDirectory() as place, volume.mounted(f"{place}/job") as mount:
        for _ in range(2):
            ended = subprocess.run([sys.executable, __file__, mount], check=False)
            print("exit code", ended.returncode, "commits", len(volume.log()), flush=True)
    results = b"".join(volume.read_file("done.txt")).decode().splitlines()
    print(f"{len(results)} results, the last one: {results[-1]}")


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else job(Path(sys.argv[1]))
