"""Settings come from the environment, have working defaults, and do not change."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from pareconv.storage.settings import Settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("PARECONV_")]:
        monkeypatch.delenv(name)


def test_everything_is_under_home_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings()
    assert settings.home == tmp_path / ".pareconv"
    assert settings.database == f"sqlite:///{tmp_path}/.pareconv/pareconv.db"
    assert settings.artifacts == f"{tmp_path}/.pareconv/artifacts"
    assert settings.allowed_roots == ()


def test_environment_overrides(monkeypatch, tmp_path):
    monkeypatch.setenv("PARECONV_HOME", str(tmp_path))
    monkeypatch.setenv("PARECONV_DATABASE_URL", "postgresql://db/pareconv")
    monkeypatch.setenv("PARECONV_ARTIFACTS_URL", "s3://bucket/pareconv")
    settings = Settings()
    assert settings.home == tmp_path
    assert settings.database == "postgresql://db/pareconv"
    assert settings.artifacts == "s3://bucket/pareconv"


def test_allowed_roots_are_split_at_colons_and_freed_of_links(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    monkeypatch.setenv("PARECONV_ALLOWED_ROOTS", f"{tmp_path}/link:/srv/teachers:")
    assert Settings().allowed_roots == (tmp_path.resolve() / "data", Path("/srv/teachers"))


def test_settings_are_frozen(tmp_path):
    settings = Settings(home=tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        settings.home = tmp_path / "elsewhere"


def test_a_password_is_not_shown(tmp_path):
    settings = Settings(home=tmp_path, database_url="postgresql://me:secret@db/pareconv")
    assert "secret" not in repr(settings)
