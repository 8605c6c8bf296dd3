"""Every page in a browser: no serious fault of access, nothing wider than the window, no complaint
on the console; and a job of ten thousand trials.
"""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from pareconv.storage.scopes import Scope

AXE = Path(__file__).parent / "axe.min.js"
TRIALS = 10_000
CHARTS_FIT = """() => [...document.querySelectorAll(".js-plotly-plot")].every(each => {
    const drawn = each.querySelector(".main-svg").getBoundingClientRect();
    return Math.abs(drawn.width - each.getBoundingClientRect().width) < 2;})"""
PAGES = {
    "jobs": "/",
    "jobs of a status": "/?status=paused",
    "submit": "/ui/submit",
    "submit another": "/ui/submit?from={searched}",
    "front": "/ui/jobs/{searched}",
    "plan": "/ui/jobs/{searched}/trials/0",
    "stopped": "/ui/jobs/{searched}/trials/4",
    "trials": "/ui/jobs/{searched}/trials",
    "blocks": "/ui/jobs/{searched}/blocks",
    "progress": "/ui/jobs/{searched}/progress",
    "students": "/ui/jobs/{searched}/students",
    "what if": "/ui/jobs/{searched}/what-if?flops=50",
    "compare": "/ui/compare?item={searched}&item={searched}:0",
    "compare nothing": "/ui/compare",
    "queued": "/ui/jobs/{queued}",
    "queued, progress": "/ui/jobs/{queued}/progress",
    "queued, blocks": "/ui/jobs/{queued}/blocks",
    "queued, students": "/ui/jobs/{queued}/students",
    "queued, what if": "/ui/jobs/{queued}/what-if",
    "failed": "/ui/jobs/{failed}",
    "error": "/ui/jobs/nobody",
}


@pytest.fixture(scope="module")
def ids(shared_client, seeds_of):
    seeds = seeds_of(shared_client.app.state.stores)
    return {
        "searched": seeds.searched().id,
        "queued": seeds.job("waits").id,
        "failed": seeds.failed().id,
    }


@pytest.fixture
def address(shared_client, ids):
    return lambda name: f"{shared_client.base_url}{PAGES[name].format(**ids)}"


def test_axe_finds_no_serious_fault_on_any_page(context_of, address):
    page = context_of(bypass_csp=True).new_page()
    faults = {}
    for name in PAGES:
        page.emulate_media(color_scheme="light")
        page.goto(address(name))
        if page.locator("#chart").count():
            expect(page.locator("#chart")).not_to_contain_text("The chart loads")
        page.add_script_tag(path=AXE)
        if found := serious(page):
            faults[name] = found
        page.emulate_media(color_scheme="dark")
        if found := serious(page, "{runOnly: ['color-contrast']}"):
            faults[f"{name}, dark"] = found
    assert faults == {}


def serious(page, options="{}"):
    found = page.evaluate(f"axe.run({options})")["violations"]
    return [
        (each["id"], [node["html"][:200] for node in each["nodes"]])
        for each in found
        if each["impact"] in {"serious", "critical"}
    ]


def test_no_page_is_wider_than_the_window(page, address, picture):
    wider = []
    for name in PAGES:
        page.goto(address(name))
        if page.locator("#chart").count():
            expect(page.locator("#chart")).not_to_contain_text("The chart loads")
        for width in (400, 1280, 2000):
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                wider.append((name, width))
            page.wait_for_function(CHARTS_FIT)  # drawn anew a moment later
            picture(page, f"{name} {width}")
    assert wider == []


def test_a_page_is_used_by_keyboard(page, address):
    page.goto(address("front"))
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id.startsWith('point-')"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#plan-title")).to_be_visible()


def test_ten_thousand_trials_are_thinned(page, shared_client, seeds_of, picture):
    job = seeds_of(shared_client.app.state.stores).searched(TRIALS, "ten thousand")
    page.goto(f"{shared_client.base_url}/ui/jobs/{job.id}")
    expect(page.locator("#chart .main-svg").first).to_be_visible()
    expect(page.locator("#chart-note")).to_contain_text("are left out")

    points = page.locator("#chart .scatterlayer path.point").count()
    picture(page, "ten thousand trials")
    assert 100 < points < 2500  # those of the front are drawn twice
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    assert session.send("Runtime.getHeapUsage")["usedSize"] < 100e6


def test_an_answer_of_the_api_is_told_where_it_refuses(page, shared_client, seeds_of, address):
    job = seeds_of(shared_client.app.state.stores).job("soon deleted")
    page.goto(f"{shared_client.base_url}/ui/jobs/{job.id}")
    shared_client.delete(f"/jobs/{job.id}")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("alert")).to_contain_text(job.id)


def test_the_calls_are_shown_by_what_the_server_has_itself(page, shared_client, picture):
    own = str(shared_client.base_url)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{own}/docs")
    expect(page.get_by_text("Show the front").first).to_be_visible()
    picture(page, "calls")
    assert [each for each in asked if not each.startswith((own, "data:"))] == []


def test_a_token_lets_in(context_of, client, picture):
    _, secret = client.app.state.stores.tokens.create(Scope.READ)
    page = context_of(bypass_csp=True).new_page()
    page.goto(f"{client.base_url}/")
    picture(page, "log in")
    page.add_script_tag(path=AXE)
    assert serious(page) == []
    page.get_by_label("Token").fill(secret)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("No job yet.")).to_be_visible()
