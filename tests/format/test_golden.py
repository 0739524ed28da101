"""Every struct on disk against a file written by the first version of this format, and against damage."""

import random

import pytest

from tests.format.samples import GOLDEN, RECORDS, SAMPLES
from volfs.exception import DamageError
from volfs.format.segment import FRAME_BYTES, AnyRecord


def test_every_kind_of_log_record_has_a_sample() -> None:
    assert {type(record) for record, _ in RECORDS.values()} == set(AnyRecord.__args__)


def test_every_golden_file_has_a_sample() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_golden(name: str) -> None:
    sample = SAMPLES[name]
    golden = (GOLDEN / f"{name}.bin").read_bytes()
    assert sample.encode(sample.value) == golden
    assert sample.decode(golden) == sample.value


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_cut_short_or_altered_is_damage_and_nothing_else(name: str) -> None:
    sample = SAMPLES[name]
    golden = (GOLDEN / f"{name}.bin").read_bytes()
    for length in range(len(golden)):
        with pytest.raises(DamageError):
            sample.decode(golden[:length])
    covered = len(golden) if sample.summed else 0
    if name.startswith("record-"):
        covered = len(golden) - len(RECORDS[name.removeprefix("record-")][1])
        assert covered > FRAME_BYTES
    random_ = random.Random(name)
    for i in range(len(golden)):
        for bit in range(8):
            altered = bytearray(golden)
            altered[i] ^= 1 << bit
            try:
                sample.decode(bytes(altered))
            except DamageError:
                continue
            assert i >= covered, f"byte {i}, bit {bit} goes unnoticed"
    for _ in range(2000):
        altered = bytearray(golden)
        for _ in range(random_.choice((1, 2, 8))):
            altered[random_.randrange(len(altered))] = random_.randrange(256)
        try:
            sample.decode(bytes(altered))
        except DamageError:
            continue
