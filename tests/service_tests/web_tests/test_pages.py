"""The pages over HTTP, without a browser: what they show, refuse and allow."""

import gzip
import html
import io
import json
import re
from html.parser import HTMLParser

import pytest

from pareconv.search.errors import InvalidSpec, JobFailed, TaskFailed
from pareconv.search.worker import problem
from pareconv.storage.errors import NotFound
from pareconv.storage.scopes import Scope

FORM = {"teacher.architecture": "cifar_resnet8", "dataset.source": "digits", "use": "flops"}
FORM |= {"budget.flops": "40", "search.objective": "flops", "finish.formats": ["onnx", "report"]}


@pytest.fixture
def seeds(stores, seeds_of):
    return seeds_of(stores)


class Inline(HTMLParser):
    """Finds what a strict policy refuses: scripts and styles that stand in the page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        is_inline = (tag == "script" and "src" not in given) or tag == "style"
        if is_inline or any(name == "style" or name.startswith("on") for name in given):
            self.found.append(self.get_starttag_text())
        for name in ("src", "href"):
            if given.get(name, "").startswith(("http:", "https:", "//")):
                self.outside.append(given[name])


def test_each_page_keeps_the_policy(client, seeds):
    job, waiting, failed = seeds.searched().id, seeds.job().id, seeds.failed().id
    tabs = ("", "/progress", "/trials", "/trials/0", "/blocks", "/students", "/what-if")
    pages = ["/", "/ui/submit", f"/ui/compare?item={job}&item={job}:0", "/ui/jobs/nobody"]
    pages += [f"/ui/jobs/{id}{tab}" for id in (job, waiting, failed) for tab in tabs]
    for address in pages:
        answer = client.get(address)
        expected = (
            404
            if "nobody" in address
            or address.endswith((f"{waiting}/trials/0", f"{failed}/trials/0"))
            else 200
        )
        assert answer.status_code == expected, (address, answer.text)
        assert answer.headers["content-type"].startswith("text/html")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe-inline" not in policy
        assert "unsafe-eval" not in policy
        parser = Inline()
        parser.feed(answer.text)
        assert (parser.found, parser.outside) == ([], []), address


def test_what_users_wrote_is_shown_as_text(client, seeds):
    hostile = "<script>alert(1)</script>"
    job = seeds.job(hostile)
    seeds.job("failed", status="failed", error={"detail": hostile, "errors": []})
    for address in ("/", f"/ui/jobs/{job.id}"):
        text = client.get(address).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize(
    "name", ["pareconv.css", "pareconv.js", "chart.js", "htmx.min.js", "icon.svg"]
)
def test_assets_are_served_and_kept(client, name):
    answer = client.get(f"/web/{name}")
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]


def test_plotly_comes_from_its_package(client):
    with client.stream("GET", "/web/plotly.min.js", headers={"accept-encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
    assert b"plotly.js v" in gzip.decompress(packed)[:200]


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fpage.py", "htmx.LICENSE", "plotly.js"])
def test_nothing_else_is_an_asset(client, name):
    assert client.get(f"/web/{name}").status_code == 404


def test_jobs_are_filtered_and_paged(client, seeds):
    for number in range(25):
        seeds.job(f"job {number}")
    seeds.failed()
    first = client.get("/").text
    assert "job 24" in first
    assert "job 3<" not in first
    older = re.search(r'rel="next" href="([^"]+)"', first)[1].replace("&amp;", "&")
    assert "job 3<" in client.get(older).text
    only = client.get("/?status=failed").text
    assert "a broken image" in only
    assert "job 24" not in only
    assert "No job is paused" in client.get("/?status=paused").text
    assert client.get("/?status=sleeping").status_code == 422


def test_the_chart_is_numbers(client, seeds):
    job = seeds.searched()
    answer = client.get(f"/ui/jobs/{job.id}/chart")
    chart = answer.json()
    front = client.get(f"/jobs/{job.id}/pareto").json()["points"]
    assert chart["front"]["number"] == [point["trial"] for point in front]
    assert chart["front"]["cost"] == [point["flops"] for point in front]
    assert (chart["budget"], chart["teacher"]) == (3_500_000, {"cost": 7e6, "accuracy": 0.95})
    assert len(chart["trials"]["number"]) + len(chart["stopped"]["number"]) == 12
    repeated = dict(zip(chart["trials"]["number"], chart["trials"]["stderr"], strict=True))
    assert (repeated[0], repeated[1]) == (0.01, None)
    assert chart["predicted"]["cost"] == sorted(chart["predicted"]["cost"])

    again = client.get(
        f"/ui/jobs/{job.id}/chart", headers={"if-none-match": answer.headers["etag"]}
    )
    assert again.status_code == 304
    params = client.get(f"/ui/jobs/{job.id}/chart?cost=params").json()
    assert (params["budget"], params["teacher"]["cost"]) == (None, 70_000)


def test_a_chart_of_nothing(client, seeds):
    chart = client.get(f"/ui/jobs/{seeds.job().id}/chart").json()
    assert (chart["teacher"], chart["predicted"], chart["front"]["number"]) == (None, None, [])


@pytest.mark.parametrize(
    "error",
    [
        InvalidSpec("dataset.source", "cat/1.png cannot be read"),
        JobFailed("the teacher is near chance"),
        TaskFailed("RuntimeError: Pivots"),
        KeyError("layer1"),
    ],
)
@pytest.mark.parametrize("tab", ["", "/progress", "/trials", "/blocks", "/students", "/what-if"])
def test_whatever_a_job_failed_by_is_on_its_page(client, seeds, error, tab):
    job = seeds.job(status="failed", stage="library", error=problem(error))
    answer = client.get(f"/ui/jobs/{job.id}{tab}")
    assert answer.status_code == 200
    assert problem(error)["detail"] in html.unescape(answer.text)
    assert client.get("/?status=failed").status_code == 200


def test_a_failed_job_says_why(client, seeds):
    text = client.get(f"/ui/jobs/{seeds.failed().id}").text
    assert "Failed in profile." in text
    assert "cat/1.png cannot be read; replace it" in text
    assert "/resume" in text
    assert "/cancel" not in text


def test_a_plan_is_drawn_block_by_block(client, seeds):
    job = seeds.searched()
    trial = client.get(f"/jobs/{job.id}/trials").json()["items"][0]
    text = client.get(f"/ui/jobs/{job.id}/trials/0").text
    for block, option in trial["plan"].items():
        assert f"{block}: {option}, saves" in text


def test_a_trial_is_compared_with_the_best_unless_it_is_that(client, seeds):
    job = seeds.searched()
    best = client.get(f"/jobs/{job.id}").json()["best"]["trial"]
    other = next(number for number in range(4) if number != best)
    assert "Compare with the best" not in client.get(f"/ui/jobs/{job.id}/trials/{best}").text
    assert "Compare with the best" in client.get(f"/ui/jobs/{job.id}/trials/{other}").text


def test_a_form_becomes_a_job(client):
    answer = client.post(
        "/ui/submit", data=FORM | {"name": "mine", "search.operators": "svd, shift"}
    )
    assert answer.status_code == 303
    job = client.get(answer.headers["location"].removeprefix("/ui")).json()
    assert job["spec"]["budget"]["flops"] == "40%"
    assert job["spec"]["search"]["operators"] == ["svd", "shift"]
    assert job["spec"]["finish"]["formats"] == ["onnx", "report"]
    assert client.get(f"/ui/jobs/{job['id']}").status_code == 200


def test_a_form_that_cannot_work_is_shown_again(client, runner):
    sent = FORM | {"search.trials": "none", "seed": "7"}
    answer = client.post("/ui/submit", data=sent)
    assert answer.status_code == 422
    assert 'id="e-search.trials"' in answer.text
    assert 'value="7"' in answer.text

    runner.answers["inspect"] = InvalidSpec("budget.flops", "10 is below the least")
    answer = client.post("/ui/submit", data=FORM)
    assert 'id="e-budget.flops">10 is below the least' in answer.text
    assert client.get("/jobs").json()["items"] == []


def test_a_form_begins_with_a_job_and_keeps_what_it_does_not_show(client, spec):
    spec["distill"] = {"parameters": {"temperature": 3.0}}
    spec["search"] = {"exclude": ["layer1*"], "trials": 7}
    job = client.post("/jobs", json=spec).json()
    shown = client.get(f"/ui/submit?from={job['id']}").text
    assert 'name="search.trials" type="number" step="1" value="7"' in shown

    sent = FORM | {"from": job["id"], "search.trials": "9"}
    made = client.post("/ui/submit", data=sent).headers["location"]
    again = client.get(made.removeprefix("/ui")).json()["spec"]
    assert again["distill"]["parameters"] == {"temperature": 3.0}
    assert (again["search"]["exclude"], again["search"]["trials"]) == (["layer1*"], 9)


def test_a_form_calls_uploads_by_their_names_beside_their_fields(client, spec):
    sent = {"file": ("weights.pt", b"some weights")}
    teacher = client.post("/teachers", files=sent).json()["reference"]
    data = client.post("/datasets", files={"file": ("flowers.zip", b"images")}).json()["reference"]
    given = {"architecture": "cifar_resnet8", "weights": teacher}
    changed = {"name": "mine", "teacher": given, "dataset": {"source": data}}
    job = client.post("/jobs", json=spec | changed).json()

    shown = client.get(f"/ui/submit?from={job['id']}").text
    assert 'id="f-name" name="name" type="text" value="mine"' in shown
    assert 'id="n-teacher.weights">the file weights.pt<' in shown
    assert 'id="n-dataset.source">the file flowers.zip<' in shown
    assert 'id="n-teacher.architecture"><' in shown

    asked = client.post("/ui/inspect", data=FORM | {"dataset.source": data}).text
    assert 'id="n-dataset.source" hx-swap-oob="true">the file flowers.zip<' in asked


def test_uploads_go_by_their_names(client, spec):
    upload = client.post("/teachers", files={"file": ("network.onnx", b"a network")}).json()
    job = client.post(
        "/jobs", json=spec | {"teacher": {"architecture": upload["reference"]}}
    ).json()
    for address in ("/", f"/ui/jobs/{job['id']}", f"/ui/compare?item={job['id']}"):
        text = client.get(address).text
        assert "network.onnx" in text
        assert upload["id"] not in text


def test_own_statistics_may_be_typed_in(client):
    own = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    made = client.post("/ui/submit", data=FORM | {"teacher.normalize": json.dumps(own)})
    spec = client.get(made.headers["location"].removeprefix("/ui")).json()["spec"]
    assert spec["teacher"]["normalize"] == own

    broken = client.post("/ui/submit", data=FORM | {"teacher.normalize": "{0.5}"})
    assert broken.status_code == 422
    assert 'id="e-teacher.normalize"' in broken.text


def test_what_can_be_reached_is_told(client):
    text = client.post("/ui/inspect", data=FORM).text
    assert "1 block may be rebuilt, in 1 way" in text
    assert 'min="20"' in text
    assert "reachable: 200 to 1.00k" in text
    note = '<small class="note" id="n-teacher.normalize" hx-swap-oob="true">'
    assert f"{note}taken from the images</small>" in text
    refused = client.post(
        "/ui/inspect", data=FORM | {"dataset.source": "nowhere", "seed": "-1"}
    ).text
    assert "is none of dataset" in refused
    assert "greater than" not in refused
    assert "Choose a teacher" in client.post("/ui/inspect", data={"use": "flops"}).text


def test_an_upload_names_the_field_that_takes_it(client, runner):
    sent = {"file": ("weights.pt", b"some weights")}
    assert 'data-sets="f-teacher.weights"' in client.post("/ui/uploads/teacher", files=sent).text
    runner.answers["check_teacher"] = {"format": "onnx"}
    sent = {"file": ("network.onnx", b"a network")}
    assert (
        'data-sets="f-teacher.architecture"' in client.post("/ui/uploads/teacher", files=sent).text
    )
    runner.answers["check_dataset"] = InvalidSpec("file", "is no archive")
    refused = client.post("/ui/uploads/dataset", files={"file": ("d.zip", b"no")})
    assert "is no archive" in refused.text
    assert client.get("/datasets").json()["items"] == []


def test_a_page_of_another_site_changes_nothing(client):
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "http://elsewhere.example"}):
        answer = client.post("/ui/submit", data=FORM, headers=headers)
        assert answer.status_code == 403
    assert client.get("/jobs").json()["items"] == []
    own = str(client.base_url).rstrip("/")
    assert client.post("/ui/submit", data=FORM, headers={"origin": own}).status_code == 303


def test_another_budget_is_predicted_and_submitted(client, seeds):
    job = seeds.searched()
    text = client.get(f"/ui/jobs/{job.id}/what-if?flops=60").text
    assert "plans within 4.20M FLOPs" in text
    assert "Predicted front: accuracy after brief training" in text
    low = client.get(f"/ui/jobs/{job.id}/what-if?flops=1").text
    assert "the least that this library reaches" in low

    made = client.post(f"/ui/jobs/{job.id}/what-if", data={"flops": "60"}).headers["location"]
    spec = client.get(made.removeprefix("/ui")).json()["spec"]
    assert (spec["budget"]["flops"], spec["name"]) == ("60%", "searched, at 60%")


def test_jobs_and_students_are_compared(client, seeds):
    job, waiting = seeds.searched(), seeds.job("waits")
    text = client.get(f"/ui/compare?item={job.id}&item={job.id}:0&item={waiting.id}").text
    assert "trial 0" in text
    assert "waits" in text
    assert client.get(f"/ui/compare?item={job.id}:999").status_code == 404


def test_a_library_that_is_gone_is_no_error(client, stores, seeds):
    job = seeds.searched()
    stores.libraries.delete(job.library_id)
    with pytest.raises(NotFound):
        stores.libraries.get(job.library_id)
    for tab in ("", "/blocks", "/what-if", "/trials/0"):
        assert client.get(f"/ui/jobs/{job.id}{tab}").status_code == 200


def test_an_address_that_no_page_has_is_said_on_a_page(client, seeds):
    for address in ("/ui/nothing", f"/ui/jobs/{seeds.searched().id}/students/0"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert f"no page is at {address}" in answer.text
        assert answer.headers["content-type"].startswith("text/html")


def test_a_comparison_has_what_a_finished_student_was_timed_at(client, seeds):
    job = seeds.searched()
    (student,) = client.get(f"/jobs/{job.id}/students").json()["items"]
    assert "0.42 ms" in client.get(f"/ui/compare?item={job.id}:{student['trial']}").text
    other = student["trial"] + 1
    assert "0.42 ms" not in client.get(f"/ui/compare?item={job.id}:{other}").text


def test_a_comparison_says_why_a_job_failed(client, seeds):
    failed = seeds.failed()
    assert failed.error["detail"][:40] in client.get(f"/ui/compare?item={failed.id}").text


def test_it_is_no_part_of_the_api(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path.startswith(("/ui", "/web"))]


def test_a_large_form_is_refused(client_of):
    client = client_of(max_body_bytes=2000)
    assert client.post("/ui/submit", data=FORM | {"name": "x" * 3000}).status_code == 413
    sent = {"file": ("w.pt", io.BytesIO(b"x" * 3000))}
    assert client.post("/ui/uploads/teacher", files=sent).status_code == 200


PAGES = ("", "/chart", "/trials", "/trials/0", "/blocks", "/progress", "/students", "/what-if")


def test_pages_show_to_each_token_what_is_its_own(client, seeds, stores):
    job = seeds.searched()
    _, secret = stores.tokens.create(Scope.SUBMIT)
    _, admin = stores.tokens.create(Scope.ADMIN)

    def asked(path, token=None):
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return client.get(path, headers=headers)

    for path in ("/", "/ui/submit", f"/ui/compare?item={job.id}:0"):
        assert asked(path).status_code == 401
        assert "This server asks for a token" in asked(path).text
    assert job.name in asked("/", admin).text
    assert job.name not in asked("/", secret).text
    for page in PAGES:
        path = f"/ui/jobs/{job.id}{page}"
        assert asked(path).status_code == 401
        assert asked(path, secret).status_code == 404
        assert asked(path, admin).status_code == 200
    assert client.get("/web/pareconv.css").status_code == 200


def test_an_admin_sees_whose_a_job_is(client, spec, seeds, stores):
    seeds.job("of before there were tokens")
    assert "Owner" not in client.get("/").text
    token, secret = stores.tokens.create(Scope.SUBMIT, name="the camera team")
    _, admin = stores.tokens.create(Scope.ADMIN)
    own = {"authorization": f"Bearer {secret}"}
    made = client.post("/jobs", json=spec, headers=own).json()

    listed = client.get("/", headers={"authorization": f"Bearer {admin}"}).text

    assert made["owner"] == token.id
    assert ">the camera team</td>" in listed
    assert ">nobody</td>" in listed
    assert "Owner" not in client.get("/", headers=own).text


def test_a_page_is_logged_in_to_with_a_token_and_out_of_again(client, seeds, stores):
    _, secret = stores.tokens.create(Scope.SUBMIT)
    own = {"origin": str(client.base_url).rstrip("/")}
    assert client.post("/session", json={"token": secret}, headers=own).status_code == 200
    assert "Log out" in client.get("/").text
    foreign = {"origin": "http://elsewhere.example"}
    assert client.post("/ui/submit", data=FORM, headers=foreign).status_code == 403
    assert client.post("/ui/submit", data=FORM, headers=own).status_code == 303
    client.delete("/session", headers=own)
    assert client.get("/").status_code == 401
