"""Events: kept in order, read from any point on, never renumbered."""

import time

import pytest

from pareconv.storage.errors import NotFound
from pareconv.storage.events import EventStore


@pytest.fixture
def events(database):
    return EventStore(database)


def test_an_event_is_kept_as_it_was(events, job):
    event = events.append(job.id, "trial", "trial 3 failed", level="error", data={"trial": 3})
    assert (event.job_id, event.type, event.message) == (job.id, "trial", "trial 3 failed")
    assert (event.level, event.data) == ("error", {"trial": 3})
    assert events.page(job.id) == [event]


def test_an_event_is_information_unless_it_says_otherwise(events, job):
    event = events.append(job.id, "stage", "profile")
    assert (event.level, event.data) == ("info", {})


def test_a_reader_goes_on_after_the_last_it_saw(events, jobs, job):
    other, _ = jobs.create({})
    appended = []
    for number in range(5):
        appended.append(events.append(job.id, "tick", str(number)))
        events.append(other.id, "tick", "of another job")
    first = events.page(job.id, limit=2)
    rest = events.page(job.id, after=first[-1].seq)
    assert first + rest == appended
    assert events.page(job.id, after=rest[-1].seq) == []


def test_a_reader_misses_nothing_while_others_write(events, job, together):
    def write():
        for number in range(25):
            events.append(job.id, "tick", str(number))

    def read():
        seen = []
        while len(seen) < 75 and (page := wait_for_more(events, job, seen)):
            seen += page
        return seen

    *_, seen = together(write, write, write, read)
    assert seen == events.page(job.id)


def wait_for_more(events, job, seen):
    after = seen[-1].seq if seen else 0
    for _ in range(1000):
        if page := events.page(job.id, after=after):
            return page
        time.sleep(0.002)
    return []


def test_a_number_is_not_used_again_after_a_delete(events, jobs, job):
    other, _ = jobs.create({})
    last = events.append(job.id, "tick", "last").seq
    jobs.delete(job.id)
    assert events.append(other.id, "tick", "next").seq > last


def test_an_unknown_job_has_no_events(events):
    with pytest.raises(NotFound, match="no job 'nowhere'"):
        events.append("nowhere", "tick", "lost")
    assert events.page("nowhere") == []


def test_news_are_of_all_the_jobs_that_are_asked_for(database, events, jobs):
    ids = [jobs.create({})[0].id for _ in range(3)]
    written = [events.append(id, "trial", f"{number}") for number in range(2) for id in ids]
    news = events.news({ids[0]: 0, ids[1]: written[1].seq})
    expected = [each for each in written if each.job_id == ids[0]] + [written[4]]
    assert news.events == sorted(expected, key=lambda each: each.seq)
    assert news.ended == set()
    assert [events.last(id) for id in ids] == [each.seq for each in written[3:]]


def test_news_tell_which_jobs_have_ended_or_are_gone(events, jobs):
    running, cancelled, deleted = (jobs.create({})[0].id for _ in range(3))
    jobs.cancel(cancelled)
    [last] = events.newest(cancelled, 1)
    jobs.delete(deleted)
    news = events.news({running: 0, cancelled: 0, deleted: 0})
    assert (news.events, news.ended) == ([last], {cancelled, deleted})
    assert events.last(deleted) == 0


def test_a_job_has_not_ended_while_there_are_more_events(events, jobs):
    job = jobs.create({})[0].id
    written = [events.append(job, "trial", f"{number}") for number in range(4)]
    jobs.cancel(job)
    written += events.newest(job, 1)
    first = events.news({job: 0}, limit=3)
    assert (first.events, first.ended) == (written[:3], set())
    rest = events.news({job: written[2].seq}, limit=3)
    assert (rest.events, rest.ended) == (written[3:], {job})


def test_news_of_hundreds_of_jobs_are_told_at_once(events, jobs):
    ids = [jobs.create({})[0].id for _ in range(250)]
    written = [events.append(id, "queued", "waits") for id in ids[::50]]
    assert events.news(dict.fromkeys(ids, 0)).events == written


def test_the_newest_come_first(events, job):
    for number in range(5):
        events.append(job.id, "tick", str(number))
    assert [event.message for event in events.newest(job.id, 2)] == ["4", "3"]
    assert events.newest("nobody") == []
