"""Latency tables: one per device and conditions, to which jobs add what they measured."""

from dataclasses import replace

import pytest

from pareconv.storage.errors import NotFound
from pareconv.storage.latencies import Latency

SUBJECT = {
    "device": "a processor",
    "runtime": "onnxruntime",
    "batch": 1,
    "threads": 2,
    "versions": {"onnxruntime": "1.31"},
}


def latency(number, **changes):
    first = Latency(f"{number:064}", "svd(ratio=0.5)", "1x16x32x32", 0.25, 0.5, 0.01)
    return replace(first, **changes)


def test_a_new_table_is_empty(latencies):
    table = latencies.open(**SUBJECT)
    assert table == latencies.get(table.id)
    assert {name: getattr(table, name) for name in SUBJECT} == SUBJECT
    assert (table.size, latencies.latencies(table.id)) == (0, [])


@pytest.mark.parametrize(
    "change",
    [
        {"device": "another"},
        {"runtime": "torch"},
        {"batch": 8},
        {"threads": 1},
        {"versions": {"onnxruntime": "1.32"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_there_is_one_table_of_a_subject(latencies, change):
    table = latencies.open(**SUBJECT)
    assert latencies.open(**SUBJECT) == table
    assert latencies.open(**SUBJECT | change).id != table.id


def test_a_table_that_is_opened_at_the_same_time_is_made_once(latencies, together):
    opened = together(*[lambda: latencies.open(**SUBJECT)] * 4)
    assert len({table.id for table in opened}) == 1
    assert len(latencies.page(100)[0]) == 1


def test_what_was_measured_is_found_again(latencies):
    table = latencies.open(**SUBJECT)
    latencies.put(table.id, [latency(2), latency(1)])
    latencies.put(table.id, [latency(3)])
    assert latencies.latencies(table.id) == [latency(1), latency(2), latency(3)]
    assert latencies.get(table.id).size == 3
    assert latencies.of(**SUBJECT) == [latency(1), latency(2), latency(3)]


def test_to_ask_for_what_is_not_there_makes_no_table(latencies):
    assert latencies.of(**SUBJECT) == []
    assert latencies.page(100)[0] == []


def test_the_first_measurement_stays(latencies):
    table = latencies.open(**SUBJECT)
    latencies.put(table.id, [latency(1)])
    latencies.put(table.id, [latency(1, ms=9.0), latency(2), latency(2, ms=9.0)])
    assert latencies.latencies(table.id) == [latency(1), latency(2)]


def test_who_adds_at_the_same_time_loses_nothing(latencies, together):
    table = latencies.open(**SUBJECT)
    results = together(
        *[lambda start=start: latencies.put(table.id, map(latency, range(start, start + 5)))
          for start in range(4)]
    )  # fmt: skip
    assert results == [None] * 4
    assert [each.key for each in latencies.latencies(table.id)] == [f"{n:064}" for n in range(8)]


def test_pages_are_newest_first(latencies):
    tables = [latencies.open(**SUBJECT | {"batch": batch}) for batch in (1, 2, 3)]
    first, cursor = latencies.page(2)
    second, end = latencies.page(2, cursor)
    assert [*first, *second] == tables[::-1]
    assert end is None


def test_a_deleted_table_is_gone_with_all_in_it(latencies):
    table = latencies.open(**SUBJECT)
    latencies.put(table.id, [latency(1)])
    latencies.delete(table.id)
    assert latencies.latencies(table.id) == []
    for call in (latencies.get, latencies.delete, lambda id: latencies.put(id, [latency(1)])):
        with pytest.raises(NotFound, match="no latency table"):
            call(table.id)
