"""Latency as a budget: measured once, found again, brought from elsewhere."""

from dataclasses import asdict

import pytest

from pareconv.models.timing import Measured
from pareconv.search import latencies as module
from pareconv.search.errors import InvalidSpec
from pareconv.search.inspection import inspect
from pareconv.search.profiling import profile
from pareconv.search.references import References
from pareconv.search.spec import JobSpec
from pareconv.storage.access import Access
from pareconv.storage.database import Database
from pareconv.storage.latencies import Latency, LatencyStore
from pareconv.storage.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home")


@pytest.fixture
def references(settings):
    with References(settings) as references:
        yield references


@pytest.fixture
def store(settings):
    database = Database(settings.database)
    database.migrate()
    yield LatencyStore(database)
    database.close()


@pytest.fixture
def ticks(monkeypatch):
    """Latencies that say what was measured, without a clock: a millisecond for each part, of which
    every option takes half; the whole network takes ten.
    """
    asked = []

    def measure(network, shape, wanted, conditions):
        asked.append([part.key for part in wanted])
        for part in {part.key: part for part in wanted}.values():
            ms, kept = (10.0, 10.0) if part.block is None else (0.5, 1.0)
            yield Measured(part.key, str(part.option), part.shape, ms, kept, 0.0)

    monkeypatch.setattr(module, "measure", measure)
    return asked


def spec(latency, **changes):
    return JobSpec.model_validate(
        {
            "teacher": {
                "architecture": "cifar_resnet8",
                "training": {"epochs": 0.2, "batch_size": 32},
            },
            "dataset": {"source": "digits", "image_size": 16},
            "budget": {"latency": latency},
            "search": {"operators": ["svd"]},
            "device": "cpu",
        }
        | changes
    )


def profiled(asked, references, store):
    found = profile(asked, references, lambda _: None)
    table = store.open(**found["latencies"]["subject"])
    store.put(table.id, [Latency(**each) for each in found["latencies"]["new"]])
    return found


@pytest.fixture(autouse=True)
def any_teacher_will_do(monkeypatch):
    monkeypatch.setattr("pareconv.search.profiling._LEAST_SKILL", -1.0)


def test_the_table_of_costs_has_the_sum_of_the_parts(references, store, ticks):
    found = profiled(spec({"ms": "80%"}), references, store)["profile"]
    assert found["teacher"]["latency_ms"] == 10.0
    assert found["budget"] == {"flops": None, "params": None, "latency_ms": 8.0}
    for block in found["table"]["blocks"]:
        assert [each["latency_ms"] for each in block["options"]] == [0.0] + [-0.5] * (
            len(block["options"]) - 1
        )


def test_what_was_measured_is_not_measured_again(references, store, ticks):
    first = profiled(spec({"ms": "80%"}), references, store)
    again = profiled(
        spec({"ms": 8.5}, search={"operators": ["svd", "depthwise"]}), references, store
    )
    assert len(ticks[0]) > 5
    assert ticks[1]
    assert not set(ticks[0]) & set(ticks[1])
    assert again["latencies"]["subject"] == first["latencies"]["subject"]
    # Other conditions are another table.
    profiled(spec({"ms": "80%", "threads": 2}), references, store)
    assert set(ticks[0]) <= set(ticks[2])


def test_an_inspection_measures_nothing_and_says_what_is_known(references, store, ticks):
    asked = spec({"ms": "80%"})
    before = inspect(asked, references).to_json()
    assert ticks == []
    assert before["budget"]["latency_ms"] is None
    assert "latency_ms" not in before["reachable"]
    profiled(asked, references, store)
    after = inspect(asked, references).to_json()
    assert after["budget"]["latency_ms"] == 8.0
    assert after["reachable"]["latency_ms"] == {"least": 8.0, "greatest": 9.5}


@pytest.mark.parametrize(
    ("ms", "message"),
    [
        (
            "79%",
            r"7\.900 ms cannot be reached: .* reach is 8\.000 ms \(80\.0% of .* 10\.000 ms\)",
        ),
        (10.5, r"10\.500 is over 100% of the teacher's 10\.000 ms"),
    ],
)
def test_a_limit_out_of_reach_is_refused(ms, message, references, store, ticks):
    with pytest.raises(InvalidSpec, match=message) as caught:
        profiled(spec({"ms": ms}), references, store)
    assert caught.value.field == "budget.latency.ms"
    assert "a share is written" not in caught.value.message  # it was one, or is no 10.5%


def test_a_table_from_elsewhere(references, store, ticks):
    here = profiled(spec({"ms": "80%"}), references, store)["latencies"]
    elsewhere = store.open(**here["subject"] | {"device": "a small board"})
    slow = [Latency(**each | {"ms": 3 * each["ms"], "kept_ms": 3 * each["kept_ms"]})
            for each in here["new"]]  # fmt: skip
    store.put(elsewhere.id, slow[:-1])
    asked = spec({"ms": "80%", "table": f"latency:{elsewhere.id}"})
    with pytest.raises(InvalidSpec, match=r"lacks 1 of .* `pareconv measure`") as caught:
        profiled(asked, references, store)
    assert caught.value.field == "budget.latency.table"
    store.put(elsewhere.id, slow)
    found = profiled(asked, references, store)
    assert found["profile"]["teacher"]["latency_ms"] == 30.0
    assert found["latencies"]["new"] == []
    other = spec({"ms": "80%", "threads": 2, "table": f"latency:{elsewhere.id}"})
    with pytest.raises(InvalidSpec, match=r"2 is not what .* was measured with, 1"):
        profiled(other, references, store)
    unknown = spec({"ms": "80%", "table": "latency:nowhere"})
    with pytest.raises(InvalidSpec, match="no latency table 'nowhere'"):
        profiled(unknown, references, store)


def test_without_a_latency_nothing_is_measured(references, store, ticks):
    found = profile(spec(None, budget={"flops": "60%"}), references, lambda _: None)
    assert found["latencies"] is None
    assert ticks == []
    assert "latency_ms" not in found["profile"]["teacher"]


def test_a_real_clock(references, store):
    found = profiled(spec({"ms": "95%"}), references, store)
    assert found["profile"]["teacher"]["latency_ms"] > 0
    stored = store.latencies(store.open(**found["latencies"]["subject"]).id)
    assert [asdict(each) for each in stored] == sorted(
        found["latencies"]["new"], key=lambda each: each["key"]
    )


def test_a_table_of_another_is_not_there_and_its_latencies_decide_nothing(settings, store):
    subject = {"device": "d", "runtime": "torch", "batch": 1, "threads": 1, "versions": {}}
    table = store.open(**subject)
    store.put(table.id, [Latency("1" * 64, "keep", "1x3x8x8", 1.0, 1.0, 0.0)])
    with References(settings) as references:
        assert len(references.latencies(subject)) == 1
        assert len(references.latency_table(f"latency:{table.id}")[1]) == 1
    with References(settings, Access("ann")) as others:
        assert others.latencies(subject) == []
        with pytest.raises(InvalidSpec, match=f"no latency table '{table.id}' is there"):
            others.latency_table(f"latency:{table.id}")
    with References(settings, Access("an admin", sees_all=True)) as admins:
        assert admins.latencies(subject) == []  # its own are measured anew
        assert len(admins.latency_table(f"latency:{table.id}")[1]) == 1
