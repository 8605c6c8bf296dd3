"""`watch`, and what it shows until the job has ended."""

import json
import re
import sys
from datetime import UTC, datetime, timedelta

import pytest
import typer

from pareconv.service.cli import watching
from pareconv.service.cli.job_view import job_view
from pareconv.service.client import Client
from pareconv.service.remote.job import Job, Moment
from pareconv.service.views.job import JobView
from pareconv.storage.jobs import JobStatus, Stage


def test_watching_a_finished_job_prints_its_events_and_front(run, finished):
    result = run("watch", finished)

    assert result.exit_code == 0, result.output
    assert "trial 0 is done" in result.stdout
    assert "Finalist 1: test accuracy 95.0%, the teacher's 97.5%" in result.stdout


def test_watching_as_json_is_a_line_per_event_and_the_front(run, finished):
    lines = [json.loads(line) for line in run("watch", finished, "--json").stdout.splitlines()]

    assert "trial 0 is done" in [line.get("message") for line in lines]
    assert [point["trial"] for point in lines[-1]["points"]] == [0, 1]


def test_a_failed_job_is_exit_code_1_with_reason_and_remedy(run, job, stores):
    stores.jobs.claim("w", 60)
    stores.jobs.update(job, owner="w", stage=Stage.PROFILE)
    error = {"title": "near chance", "detail": "accuracy 0.1 of 10 classes"}
    stores.jobs.transition(job, JobStatus.FAILED, owner="w", error=error)

    result = run("watch", job)

    assert result.exit_code == 1
    assert "failed in profile: accuracy 0.1 of 10 classes" in result.stderr
    assert f"pareconv resume {job}" in result.stderr


def test_a_submitted_job_can_be_watched(submit, stores, monkeypatch):
    polled = Job.moments

    def cancelled_meanwhile(job):
        job.cancel()
        return polled(job)

    monkeypatch.setattr(Job, "moments", cancelled_meanwhile)

    result = submit("--data", "digits", "--watch")

    assert result.exit_code == 1
    assert "cancelled" in result.stderr


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(run, job, stores, monkeypatch):
    def interrupted(job):
        raise KeyboardInterrupt

    monkeypatch.setattr(Job, "moments", interrupted)

    result = run("watch", job)

    assert result.exit_code == 130
    assert f"pareconv watch {job}" in result.stderr
    assert stores.jobs.get(job).status == JobStatus.QUEUED


def test_ctrl_c_leaves_the_live_display_to_be_read(client, job, monkeypatch, capsys):
    once = Job.moments

    def interrupted(self):
        yield next(once(self))
        raise KeyboardInterrupt

    monkeypatch.setattr(Job, "moments", interrupted)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with Client(str(client.base_url)) as asking, pytest.raises(typer.Exit):
        watching.follow(asking.jobs.get(job), server=asking.url)

    told = capsys.readouterr().out
    last = told[told.rindex(f"Job {job}") :]
    assert "trials 0" in last
    assert "\x1b[2K" not in last  # which would erase it


def test_the_live_display_counts_the_trials_of_an_extension(client, finished, stores, shown):
    stores.jobs.extend(finished, trials=40)
    assert "trials 3/43" in shown(job_view(JobView(**client.get(f"/jobs/{finished}").json()), []))


def test_the_live_display_shows_how_far_the_job_is(client, finished, shown):
    job = client.get(f"/jobs/{finished}").json()
    job |= {"status": "running", "stage": "search", "progress": 0.42, "eta_s": 96.0}
    job["spec"]["search"]["trials"] = 8

    text = shown(job_view(JobView(**job), ["19:00:00 trial 1 is done"], is_connected=False))

    expected = ("running, search", "42%", "about 1:36 left", "trials 3/8", "best 95.0% at 6.00M")
    for each in (*expected, "19:00:00 trial 1 is done", "connection lost"):
        assert each in text


def cancel_after_two_moments(monkeypatch):
    once = Job.moments

    def cancelled(self):
        moments = once(self)
        yield next(moments)
        yield next(moments)
        yield Moment(self.cancel(), [])

    monkeypatch.setattr(Job, "moments", cancelled)


def test_lines_tell_how_far_the_job_is_where_nothing_happens(run, job, stores, monkeypatch):
    stores.jobs.claim("w", 60)
    soon = datetime.now(UTC) + timedelta(seconds=90)
    stores.jobs.update(job, owner="w", stage=Stage.LIBRARY, progress=0.17, stage_eta=soon)
    monkeypatch.setattr(watching, "_QUIET_SECONDS", 0.0)
    cancel_after_two_moments(monkeypatch)

    told = run("watch", job).stdout
    assert re.search("17% of the job is done, now in its stage library, about .* of this", told)


def test_who_watches_a_paused_job_hears_once_how_it_goes_on(run, job, stores, monkeypatch):
    stores.jobs.pause(job)
    monkeypatch.setattr(watching, "_QUIET_SECONDS", 0.0)
    cancel_after_two_moments(monkeypatch)

    result = run("watch", job)
    assert result.stderr.count(f"The job is paused; `pareconv resume {job}` goes on with it") == 1
    assert "of the job is done" not in result.stdout


def test_the_live_display_of_a_paused_job_says_how_it_goes_on(client, job, stores, shown):
    stores.jobs.pause(job)
    paused = JobView.model_validate(client.get(f"/jobs/{job}").json())
    assert f"pareconv resume {job}" in shown(job_view(paused, []))
