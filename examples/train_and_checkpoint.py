"""Train on one machine, write checkpoints to a volume, go on in another process: `python train_and_checkpoint.py`.

Each process has a mount of its own, as each container would. A checkpoint is for others to see once it is committed;
others see it once they reload.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import volfs

volume = volfs.Volume.from_name("checkpoints", create_if_missing=True)
DATA = [(x / 10, 3 * x / 10 + 1) for x in range(-10, 11)]  # y = 3x + 1, to be found out


def train(mount: Path, until: int) -> None:
    checkpoint = mount / "model.json"
    model = {"step": 0, "slope": 0.0, "offset": 0.0}
    if checkpoint.exists():
        model = json.loads(checkpoint.read_text())
        print(f"resuming at step {model['step']}")
    while model["step"] < until:
        for x, y in DATA:
            error = model["slope"] * x + model["offset"] - y
            model["slope"] -= 0.05 * error * x
            model["offset"] -= 0.05 * error
        model["step"] += 1
        if model["step"] % 10 == 0:
            # Written beside and renamed: nobody ever finds half a checkpoint, whatever happens to this process.
            beside = checkpoint.with_suffix(".new")
            beside.write_text(json.dumps(model))
            os.replace(beside, checkpoint)
            volume.commit(path=mount)  # all of it or nothing; durable when it returns
    print(f"step {model['step']}: y = {model['slope']:.2f} x + {model['offset']:.2f}")


def resume(mount: Path, until: int) -> None:
    volume.reload(path=mount)  # what the other process has committed
    train(mount, until)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as place,
        volume.mounted(f"{place}/one") as one,
        volume.mounted(f"{place}/two") as two,
    ):
        for verb, mount, until in (("train", one, "20"), ("resume", two, "60")):
            subprocess.run([sys.executable, __file__, verb, mount, until], check=True)
    for commit in volume.log():
        print(f"commit {commit.number}: {commit.files} file, {commit.bytes} bytes")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        {"train": train, "resume": resume}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
