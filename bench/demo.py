"""The main job in a few seconds: prints what it does, leaves nothing. Run by `make demo`."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

VOLFS = Path(sys.executable).with_name("volfs")


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def shell(command: str, root: Path, *, fails: bool = False) -> str:
    """Runs a command as a user would type it; prints it and what it says."""
    print(f"$ {command}", flush=True)
    env = {**os.environ, "PATH": f"{VOLFS.parent}:{os.environ['PATH']}", "VOLFS_STORE": str(root / "store")}
    env["VOLFS_STATE"] = str(root / "state")
    done = subprocess.run(["sh", "-c", command], cwd=root, env=env, capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr, end="", flush=True)
    if (done.returncode != 0) != fails:
        raise SystemExit(f"demo: exit {done.returncode} where {'an error' if fails else '0'} was expected")
    return done.stdout


def show(root: Path) -> None:
    for name in ("one", "two", "three"):
        (root / name).mkdir()
    say("A volume, mounted twice: two containers' private views of it")
    shell("volfs create data", root)
    shell("volfs mount data one && volfs mount data two", root)
    say("Ordinary programs work on it; nothing shows elsewhere before commit and reload")
    shell("mkdir one/src && cp -r /etc/ssl one/src/ && tar cf one/src.tar -C one src", root)
    shell("echo v1 > one/model.bin", root)
    shell("ls two", root)
    shell("volfs commit one -m 'first data'", root)
    shell("volfs reload two && ls two && diff -r one two && echo same", root)
    say("A reload is refused while a file is open, and says whose")
    shell("echo 'v2' > one/model.bin && volfs commit one", root)
    shell("exec 3< two/model.bin; volfs reload two; code=$?; cat two/model.bin; exit $code", root, fails=True)
    shell("volfs reload two && cat two/model.bin", root)
    say("Read-only, and only a directory of the volume")
    shell("volfs mount data three --read-only --sub-path src && ls three", root)
    shell("touch three/x", root, fails=True)
    say("Commit from inside a container, where only the mount is visible: read an attribute")
    shell("echo inside > two/note && getfattr --only-values -n user.volfs.commit two; echo", root)
    say("A daemon is killed; nothing that was written is lost")
    shell("echo precious > one/precious", root)
    status = shell("volfs status", root)
    pid = next(line.split()[2] for line in status.splitlines() if line.split()[1] == str(root / "one"))
    print(f"$ kill -9 {pid}", flush=True)
    os.kill(int(pid), signal.SIGKILL)
    shell("volfs mount data one && cat one/precious && volfs commit one && volfs log data", root)
    shell("volfs umount one && volfs umount two && volfs umount three", root)


def main() -> None:
    root = Path(tempfile.mkdtemp(prefix="volfs-demo-")).resolve()
    try:
        show(root)
    finally:
        for name in ("one", "two", "three"):
            subprocess.run(["umount", "-l", root / name], capture_output=True, check=False)
        shutil.rmtree(root, ignore_errors=True)
    say("Done; nothing is left behind.")


if __name__ == "__main__":
    main()
