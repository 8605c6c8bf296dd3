"""The page from end to end: a real server, a real worker, a real browser, one story."""

import hashlib
import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

LONG = 240_000  # milliseconds: what waits for the worker, on a busy machine


def fill(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        page.locator(f"[name='{name.replace('__', '.')}']").fill(value)


def fill_tiny(page: Page, name: str) -> None:
    """A job that is as quick as one can be."""
    fill(page, name=name, teacher__architecture="cifar_resnet8", dataset__source="digits")
    page.get_by_text("Advanced settings").click()
    fill(
        page,
        search__trials="6",
        search__operators="svd, depthwise",
        library__rungs="0",
        teacher__training__epochs="2",
        distill__epochs="0.2",
        finish__epochs="0.2",
        dataset__image_size="16",
        finish__finalists="1",
    )
    for format in ("pt2", "safetensors"):
        page.get_by_label(format, exact=True).uncheck()


def submit(page: Page) -> str:
    """The new job's id."""
    page.get_by_role("button", name="Submit the job").click()
    page.wait_for_url(re.compile(r"/ui/jobs/\w+$"), timeout=LONG)
    return page.url.rpartition("/")[2]


class Story:
    """What one person does, step by step, in two pages of one browser."""

    def __init__(self, server, context, picture) -> None:
        self.server, self.picture = server, picture
        self.page, self.other = context.new_page(), context.new_page()
        self.api = httpx.Client(base_url=server.url, timeout=60)
        self.job = self.second = ""

    def sees_that_nothing_is_there(self) -> None:
        self.page.goto(self.server.url)
        expect(self.page.get_by_text("No job yet")).to_be_visible()
        self.picture(self.page, "story, nothing there")
        self.page.get_by_role("link", name="Submit a job").click()

    def is_told_what_can_be_reached(self) -> None:
        fill_tiny(self.page, "the story")
        inspected = self.page.locator("#inspected")
        expect(inspected).to_contain_text("blocks may be rebuilt", timeout=LONG)
        expect(self.page.get_by_text("reachable:").first).to_be_visible()

    def is_refused_beside_the_fields(self) -> None:
        page = self.page
        fill(page, search__trials="0", dataset__source="nowhere")
        page.get_by_role("button", name="Submit the job").click()
        expect(page.locator("#refused")).to_be_focused()
        trials = page.locator("[name='search.trials']")
        expect(trials).to_have_attribute("aria-invalid", "true")
        expect(page.locator("[id='e-search.trials']")).to_contain_text("greater than or equal to 1")
        expect(page.locator("[id='e-dataset.source']")).to_contain_text("nowhere")
        expect(page.locator("[name='search.operators']")).to_have_value("svd, depthwise")
        self.picture(page, "story, refused")

    def submits(self) -> None:
        fill(self.page, search__trials="6", dataset__source="digits")
        self.job = submit(self.page)

    def cancels_another(self) -> None:
        self.other.goto(f"{self.server.url}/ui/submit")
        fill_tiny(self.other, "another")
        self.second = submit(self.other)
        self.other.get_by_role("button", name="Cancel").click()
        expect(self.other.locator("#head .status")).to_have_text("cancelled")

    def watches_the_front_begin(self) -> None:
        self.page.evaluate("document.body.dataset.marked = 'not loaded again'")
        points = self.page.locator("#front-table tbody tr")
        expect(points.first).to_be_visible(timeout=LONG)
        expect(self.page.locator("#chart .main-svg").first).to_be_visible()

    def resumes_the_other_on_a_new_server(self) -> None:
        self.server.stop()
        self.server.start()
        other = self.other
        other.reload()
        other.get_by_role("button", name="Resume").click()
        expect(other.locator("#head .status")).to_have_text(re.compile("queued|running"))
        other.get_by_role("button", name="Cancel").click()
        expect(other.locator("#head .status")).to_have_text(re.compile("cancel"))

    def watches_to_the_end_in_the_same_page(self) -> None:
        expect(self.page.locator("#head .status")).to_have_text("succeeded", timeout=LONG)
        assert self.page.evaluate("document.body.dataset.marked") == "not loaded again"
        found = self.api.get(f"/jobs/{self.job}/pareto").json()["points"]
        expect(self.page.locator("#front-table tbody tr")).to_have_count(len(found))

    def opens_a_point(self) -> None:
        traces = self.page.locator("#chart .scatterlayer .trace")
        front = traces.filter(has=self.page.locator("path.js-line")).last
        spot = front.locator("path.point").last.bounding_box()
        assert spot is not None
        self.page.mouse.move(spot["x"] + spot["width"] / 2, spot["y"] + spot["height"] / 2)
        self.page.mouse.click(spot["x"] + spot["width"] / 2, spot["y"] + spot["height"] / 2)
        expect(self.page.locator("#plan-panel svg.plan")).to_be_visible()
        expect(self.page.locator("#plan-panel tbody")).to_contain_text("layer1.0")
        self.picture(self.page, "story, a point")

    def downloads_the_student(self, path: Path) -> None:
        self.page.get_by_role("link", name="Students").click()
        with self.page.expect_download() as started:
            self.page.get_by_role("link", name="onnx", exact=True).first.click()
        started.value.save_as(path)
        (student,) = self.api.get(f"/jobs/{self.job}/students").json()["items"]
        (artifact,) = [each for each in student["artifacts"] if each["format"] == "onnx"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == artifact["sha256"]

    def finds_the_study(self) -> None:
        self.page.get_by_role("link", name="Progress").click()
        expect(self.page.locator(".timeline li.done")).to_have_count(4)
        link = self.page.get_by_role("link", name="study in the Optuna dashboard")
        studies = self.api.get("/api/studies").json()["study_summaries"]
        (study,) = [each for each in studies if each["study_name"].endswith(f"({self.job})")]
        expect(link).to_have_attribute("href", f"/dashboard/studies/{study['study_id']}")

    def asks_what_if(self) -> None:
        page = self.page
        page.get_by_role("link", name="What if").click()
        page.locator("#f-flops").focus()
        before = page.locator("#prediction").inner_text()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        expect(page.locator("#flops-shown")).to_have_text("55%")
        expect(page.locator("#prediction")).not_to_have_text(before)
        page.get_by_role("button", name="Submit this as a job").click()
        page.wait_for_url(re.compile(r"/ui/jobs/\w+$"), timeout=LONG)
        third = page.url.rpartition("/")[2]
        spec = self.api.get(f"/jobs/{third}").json()["spec"]
        assert spec["budget"]["flops"] == "55%"


@pytest.mark.timeout(900)
def test_the_story_of_a_job(server, context_of, picture, tmp_path: Path) -> None:
    story = Story(server, context_of(viewport={"width": 1280, "height": 900}), picture)
    with story.api:
        story.sees_that_nothing_is_there()
        story.is_told_what_can_be_reached()
        story.is_refused_beside_the_fields()
        story.submits()
        story.cancels_another()
        story.watches_the_front_begin()
        story.resumes_the_other_on_a_new_server()
        story.watches_to_the_end_in_the_same_page()
        story.opens_a_point()
        story.downloads_the_student(tmp_path / "student.onnx")
        story.finds_the_study()
        story.asks_what_if()
