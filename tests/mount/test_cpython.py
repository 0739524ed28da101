"""CPython's own tests of files, with their temporary files on a mount: a part of `python -m tests.mount.cpython`."""

import pytest

from tests.conftest import Host
from tests.mount.cpython import SELECTED, compare, python_with


@pytest.mark.slow
@pytest.mark.parametrize("suite", SELECTED)
def test_cpythons_own_tests_pass_on_a_mount(host: Host, suite: str) -> None:
    if not python_with(suite):
        pytest.skip("needs the package libpython3-testsuite")
    found, only_there = compare(host, host.mount(), suite)
    assert found.ran > 5
    assert not only_there, found.text[-6000:]
