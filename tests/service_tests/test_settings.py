"""The settings of the server."""

import pytest
from pydantic import ValidationError

from pareconv.service.settings import ServiceSettings
from pareconv.storage.settings import Settings


def test_defaults_serve_this_machine_alone(settings):
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.dashboard_writable is False


def test_the_environment_names_them(settings, monkeypatch):
    monkeypatch.setenv("PARECONV_PORT", "9000")
    monkeypatch.setenv("PARECONV_MAX_UPLOAD_BYTES", "5")

    assert (ServiceSettings().port, ServiceSettings().max_upload_bytes) == (9000, 5)


@pytest.mark.parametrize(("name", "value"), [("port", 70000), ("workers", -1)])
def test_nonsense_is_refused(settings, name, value):
    with pytest.raises(ValidationError, match=name):
        ServiceSettings(**{name: value})


def test_every_field_is_documented():
    for name, field in ServiceSettings.model_fields.items():
        assert field.description, name


def test_another_process_remembers_in_the_same_places(tmp_path, settings, monkeypatch):
    roots = (tmp_path / "a", tmp_path / "b")
    ours = ServiceSettings(home=tmp_path / "home", allowed_roots=roots)

    for name, value in ours.environment().items():
        monkeypatch.setenv(name, value)
    theirs = Settings()

    assert theirs.home == ours.home
    assert theirs.database == ours.database
    assert theirs.artifacts == ours.artifacts
    assert theirs.allowed_roots == roots
