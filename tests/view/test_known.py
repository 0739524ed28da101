"""What the kernel knows of a view."""

from volfs.view.known import Known

A, B, C = 71, 72, 73  # threads


def known_file() -> Known:
    known = Known()
    known.learn(5, 1, 99)
    return known


def test_who_looked_a_name_up_before_a_reload_changed_the_file_has_the_old_inode() -> None:
    known = known_file()
    known.tell(5, A)
    assert not known.is_old(5, A)
    known.changed_elsewhere(5)
    assert known.is_old(5, A)
    known.tell(5, B)
    assert known.is_old(5, A)  # the kernel may not have read that answer yet
    known.tell(5, A)
    assert not known.is_old(5, A)
    assert not known.is_old(5, C)  # the kernel has ended the old one


def test_each_reload_that_changed_a_file_makes_its_inode_old_again() -> None:
    known = known_file()
    for thread in (A, B):
        known.changed_elsewhere(5)
        assert known.is_old(5, thread)
        known.tell(5, thread)
        assert not known.is_old(5, thread)


def test_what_the_kernel_has_forgotten_is_not_old() -> None:
    known = known_file()
    known.changed_elsewhere(5)
    known.forget(5, 1)
    assert not known.is_old(5, A)
