"""`doctor`, `db` and `gc`: what is found on this machine."""

import io
import json

from typer.testing import CliRunner

from pareconv.service.cli import doctor
from pareconv.service.cli.app import app
from pareconv.storage.database import Database
from pareconv.storage.files import FileStore


def test_the_doctor_finds_this_machine_in_order(settings, monkeypatch):
    monkeypatch.setenv("PARECONV_HOME", str(settings.home))

    result = CliRunner().invoke(app, ["doctor", "--json"])

    assert result.exit_code == 0, result.output
    findings = {each["check"]: each for each in json.loads(result.stdout)}
    assert list(findings) == [
        *("python", "torch", "device", "database", "artifacts", "disk", "allowed roots")
    ]
    assert "torchvision" in findings["torch"]["found"]
    assert "not there yet" in findings["database"]["found"]
    assert not (settings.home / "pareconv.db").exists(), "a look must not make one"


def test_the_doctor_says_what_to_do(settings, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_torch", list)
    monkeypatch.setenv("PARECONV_HOME", str(settings.home))
    monkeypatch.setenv("PARECONV_ALLOWED_ROOTS", str(tmp_path / "missing"))
    monkeypatch.setenv("PARECONV_ARTIFACTS_URL", "/proc/nowhere")

    result = CliRunner().invoke(app, ["doctor"])

    assert result.exit_code == 1
    assert f"no such folder: {tmp_path / 'missing'}" in result.stdout
    assert "mend PARECONV_ALLOWED_ROOTS" in result.stdout
    assert "check PARECONV_ARTIFACTS_URL" in result.stdout
    assert "artifacts, allowed roots" in result.stderr


def test_a_torchvision_for_another_torch_is_found_before_it_is_imported():
    assert doctor.wanted_torch(["numpy", "torch==2.15.0", "pillow"]) == "2.15.0"
    assert doctor.wanted_torch(["torchmetrics==1.0", "torch>=2"]) is None


def test_the_database_is_upgraded_and_then_known_to_the_doctor(settings, monkeypatch):
    monkeypatch.setattr(doctor, "_torch", list)
    monkeypatch.setenv("PARECONV_HOME", str(settings.home))

    assert "is at revision" in CliRunner().invoke(app, ["db", "upgrade"]).stdout
    assert "revision" in CliRunner().invoke(app, ["doctor"]).stdout


def test_a_database_of_a_newer_version_is_a_finding(settings, monkeypatch):
    database = Database(settings.database)
    database.migrate()
    with database.session() as session:
        session.connection().exec_driver_sql(
            "UPDATE pareconv_alembic_version SET version_num = '9999'"
        )
    database.close()
    monkeypatch.setattr(doctor, "_torch", list)
    monkeypatch.setenv("PARECONV_HOME", str(settings.home))

    result = CliRunner().invoke(app, ["doctor"])

    assert result.exit_code == 1
    assert "newer version (9999)" in result.stdout


def test_garbage_is_collected_after_a_look(settings, monkeypatch):
    monkeypatch.setenv("PARECONV_HOME", str(settings.home))
    files = FileStore.of(settings)
    sha256, _ = files.put_stream(io.BytesIO(b"garbage"))

    def gc(*options):
        return CliRunner().invoke(app, ["gc", *options]).stdout

    assert "Removed 0 of 1 files" in gc()
    assert "Would remove 1 of 1 files, 7 B of 7 B" in gc("--dry-run", "--grace-hours", "0")
    assert files.exists(sha256)
    assert "Removed 1 of 1 files" in gc("--grace-hours", "0")
    assert not files.exists(sha256)
