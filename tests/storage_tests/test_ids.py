"""Ids sort by time, are safe in a URL, and are told from other text."""

from pareconv.storage.ids import is_id, new_id


def test_ids_sort_by_time_of_birth():
    ids = []
    for _ in range(200):
        ids.append(new_id())
        sum(range(500))  # longer than the clock's step of one microsecond
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_an_id_is_short_and_url_safe():
    assert new_id().isalnum()
    assert new_id().islower()
    assert len(new_id()) == 26
    assert is_id(new_id())


def test_other_text_is_no_id():
    assert not is_id("../../etc/passwd")
    assert not is_id(new_id().upper())
    assert not is_id(new_id() + "\n")
