"""What every command has: exit codes, help, and the server it asks."""

import inspect
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from typer.testing import CliRunner

from pareconv.search.spec import Finish, Search
from pareconv.service.cli.app import app
from pareconv.service.settings import ServiceSettings


def test_no_server_is_exit_code_3_with_the_remedy():
    result = CliRunner().invoke(app, ["--server", "http://127.0.0.1:9", "jobs"])

    assert result.exit_code == 3
    assert result.stdout == ""
    assert "http://127.0.0.1:9" in result.stderr
    assert "pareconv serve" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_refused_field_is_exit_code_2_on_a_line_of_its_own(run):
    result = run(
        "submit", "--teacher", "x", "--data", "digits", "--budget-flops", "0", "--trials", 0
    )

    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "--budget-flops (budget.flops)",
        "--trials (search.trials)",
    ]


def test_an_unknown_job_is_exit_code_1(run):
    result = run("front", "no-such-job")

    assert result.exit_code == 1
    assert "no-such-job" in result.stderr


def test_what_can_be_no_id_is_exit_code_1(run):
    result = run("front", "..")

    assert result.exit_code == 1
    assert result.stderr.startswith("'..' is no id")


def test_a_setting_that_cannot_be_is_exit_code_2(run):
    result = run("serve", "--port", "99999")

    assert result.exit_code == 2
    assert "PARECONV_PORT" in result.stderr
    assert "99999" in result.stderr


def test_the_help_tells_the_exit_codes_and_an_example_of_every_command(run):
    assert "3 no server answers" in run("--help").stdout.replace("\n", " ")
    names = [command.callback.__name__ for command in app.registered_commands]
    groups = [
        ["db", "upgrade"],
        ["libraries"],
        ["libraries", "front"],
        ["uploads"],
        ["uploads", "delete"],
    ]
    for command in [[name] for name in names] + groups:
        assert f"Example: pareconv {' '.join(command)}" in run(*command, "--help").stdout


def test_the_help_of_submit_tells_what_holds_where_an_option_is_left_out(run):
    text = " ".join(run("submit", "--help").stdout.replace("│", " ").split())

    assert f"Candidates to try. [default: ({Search().trials})]" in text
    assert f"Epochs that a finalist is trained. [default: ({Finish().epochs:g})]" in text
    assert f"[default: ({','.join(Finish().formats)})]" in text


def test_the_help_of_serve_tells_the_defaults_of_the_settings(run, monkeypatch):
    for name in [each for each in os.environ if each.startswith("PARECONV_")]:
        monkeypatch.delenv(name)
    text = " ".join(run("serve", "--help").stdout.replace("│", " ").split())

    for name in ("host", "port", "workers", "home"):
        default = ServiceSettings.model_fields[name].default
        assert f"[default: ({default})]" in text


def test_every_command_that_answers_does_so_as_json_too():
    runs_on = {"serve", "worker", "demo"}
    groups = [group.typer_instance for group in app.registered_groups]
    commands = [each for typer in (app, *groups) for each in typer.registered_commands]
    without = {
        command.callback.__name__
        for command in commands
        if "as_json" not in inspect.signature(command.callback).parameters
    }

    assert len(commands) > 20
    assert without == runs_on | {"upgrade", "revoke"}  # which only do as they are told


def test_a_version_is_told(run):
    assert run("--version").stdout == f"pareconv {version('pareconv')}\n"


def test_a_shell_completes_ids_of_jobs(job, client):
    typed = {"_PARECONV_COMPLETE": "complete_bash", "COMP_WORDS": f"pareconv watch {job[:4]}"}
    asked = os.environ | typed | {"COMP_CWORD": "2", "PARECONV_SERVER": str(client.base_url)}
    command = [Path(sys.executable).with_name("pareconv")]
    away = asked | {"PARECONV_SERVER": "http://127.0.0.1:9"}
    found, nothing = (
        subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        for env in (asked, away)
    )

    assert found.stdout.split() == [job]
    assert (nothing.stdout.strip(), nothing.stderr) == ("", "")


def test_the_server_may_be_named_before_or_after_the_command(client, monkeypatch):
    monkeypatch.setenv("PARECONV_SERVER", "http://127.0.0.1:9")
    url = str(client.base_url)

    for arguments in (["--server", url, "jobs"], ["jobs", "--server", url]):
        assert CliRunner().invoke(app, arguments).exit_code == 0


def test_the_command_line_does_not_load_torch():
    code = (
        "import sys, pareconv.service.cli, pareconv.service.demo, pareconv.service.server\n"
        "print([name for name in ('torch', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
