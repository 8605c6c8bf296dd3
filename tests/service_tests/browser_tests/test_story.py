"""The page from end to end: a real server, a real worker, a real browser, one story."""

import hashlib
import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

LONG = 120_000  # milliseconds: what waits for the worker, on a busy machine


def fill(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        page.locator(f"[name='{name.replace('__', '.')}']").fill(value)


def fill_tiny(page: Page, name: str) -> None:
    """A job that is as quick as one can be."""
    fill(page, name=name, teacher__architecture="cifar_resnet8", dataset__source="digits")
    page.get_by_text("Advanced settings").click()
    fill(
        page,
        search__trials="8",
        search__operators="svd, depthwise",
        library__rungs="0",
        teacher__training__epochs="4",
        distill__epochs="0.2",
        finish__epochs="0.2",
        finish__finalists="1",
    )
    for format in ("pt2", "safetensors"):
        page.get_by_label(format, exact=True).uncheck()


def submit(page: Page) -> str:
    """The new job's id."""
    page.get_by_role("button", name="Submit the job").click()
    page.wait_for_url(re.compile(r"/ui/jobs/\w+$"), timeout=LONG)
    return page.url.rpartition("/")[2]


@pytest.mark.timeout(900)
def test_the_story_of_a_job(server, context_of, tmp_path: Path) -> None:
    context = context_of(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()

    # Nothing is there yet, and says so.
    page.goto(server.url)
    expect(page.get_by_text("No job yet")).to_be_visible()
    page.get_by_role("link", name="Submit a job").click()

    # What can be reached is told before anything is submitted.
    fill_tiny(page, "the story")
    expect(page.locator("#inspected")).to_contain_text("blocks may be rebuilt", timeout=LONG)
    expect(page.get_by_text("reachable:").first).to_be_visible()

    # Bad input is refused beside the field, and what was filled in stays.
    fill(page, search__trials="0", dataset__source="nowhere")
    page.get_by_role("button", name="Submit the job").click()
    expect(page.locator("#refused")).to_be_focused()
    trials = page.locator("[name='search.trials']")
    expect(trials).to_have_attribute("aria-invalid", "true")
    expect(page.locator("[id='e-search.trials']")).to_contain_text("greater than or equal to 1")
    expect(page.locator("[id='e-dataset.source']")).to_contain_text("nowhere")
    expect(page.locator("[name='search.operators']")).to_have_value("svd, depthwise")

    fill(page, search__trials="8", dataset__source="digits")
    job = submit(page)

    # Another one waits behind it, and is cancelled.
    other = context.new_page()
    other.goto(f"{server.url}/ui/submit")
    fill_tiny(other, "another")
    second = submit(other)
    other.get_by_role("button", name="Cancel").click()
    expect(other.locator("#head .status")).to_have_text("cancelled")

    # The front grows without a reload.
    marked = page.evaluate("document.body.dataset.marked = 'yes'")
    assert marked == "yes"
    points = page.locator("#front-table tbody tr")
    expect(points.first).to_be_visible(timeout=LONG)
    expect(page.locator("#chart .main-svg").first).to_be_visible()

    # The server goes away and comes back: the cancelled job is resumed, the open page goes on.
    server.stop()
    server.start()
    other.reload()
    other.get_by_role("button", name="Resume").click()
    expect(other.locator("#head .status")).to_have_text(re.compile("queued|running"))
    other.get_by_role("button", name="Cancel").click()
    expect(other.locator("#head .status")).to_have_text(re.compile("cancel"))
    httpx.post(f"{server.url}/jobs/{second}/cancel")
    expect(page.locator("#head .status")).to_have_text("succeeded", timeout=LONG)
    assert page.evaluate("document.body.dataset.marked") == "yes"
    found = httpx.get(f"{server.url}/jobs/{job}/pareto").json()["points"]
    expect(points).to_have_count(len(found))

    # A click on a point opens its plan.
    front = page.locator("#chart .scatterlayer .trace").filter(has=page.locator("path.js-line"))
    spot = front.last.locator("path.point").last.bounding_box()
    assert spot is not None
    page.mouse.move(spot["x"] + spot["width"] / 2, spot["y"] + spot["height"] / 2)
    page.mouse.click(spot["x"] + spot["width"] / 2, spot["y"] + spot["height"] / 2)
    expect(page.locator("#plan-panel svg.plan")).to_be_visible()
    expect(page.locator("#plan-panel tbody")).to_contain_text("layer1.0")

    # The finalist is downloaded.
    page.get_by_role("link", name="Students").click()
    with page.expect_download() as started:
        page.get_by_role("link", name="onnx", exact=True).first.click()
    path = tmp_path / "student.onnx"
    started.value.save_as(path)
    (student,) = httpx.get(f"{server.url}/jobs/{job}/students").json()["items"]
    (artifact,) = [each for each in student["artifacts"] if each["format"] == "onnx"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == artifact["sha256"]

    # Every stage is done; the study is in the dashboard.
    page.get_by_role("link", name="Progress").click()
    expect(page.locator(".timeline li.done")).to_have_count(4)
    address = page.get_by_role("link", name="study in the Optuna dashboard").get_attribute("href")
    assert httpx.get(f"{server.url}{address}").status_code == 200
    studies = httpx.get(f"{server.url}/api/studies").json()["study_summaries"]
    (study,) = [each for each in studies if each["study_name"].endswith(f"({job})")]
    assert address == f"/dashboard/studies/{study['study_id']}"

    # What if: another budget is predicted at once, and submitted by a button.
    page.get_by_role("link", name="What if").click()
    slider = page.locator("#f-flops")
    slider.focus()
    before = page.locator("#prediction").inner_text()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#flops-shown")).to_have_text("55%")
    expect(page.locator("#prediction")).not_to_have_text(before)
    page.get_by_role("button", name="Submit this as a job").click()
    page.wait_for_url(re.compile(r"/ui/jobs/\w+$"), timeout=LONG)
    third = page.url.rpartition("/")[2]
    assert httpx.get(f"{server.url}/jobs/{third}").json()["spec"]["budget"]["flops"] == "55%"
