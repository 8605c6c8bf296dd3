"""What a test lets other processes do. Run by path: `python child.py <command> <url> ...`."""

import sys
import time
from pathlib import Path

from pareconv.storage.candidates import CandidateStore
from pareconv.storage.database import Database
from pareconv.storage.jobs import JobStore
from pareconv.storage.libraries import LibraryStore


def claim(database: Database, owner: str) -> None:
    """Claim until nothing is left; tell the ids."""
    jobs = JobStore(database)
    while job := jobs.claim(owner, lease_seconds=60):
        sys.stdout.write(f"{job.id}\n")


def number(database: Database, job_id: str) -> None:
    """Create candidates; tell their numbers."""
    for _ in range(25):
        candidate = CandidateStore(database).create(job_id, {}, flops=1, adds=0, params=1)
        sys.stdout.write(f"{candidate.number}\n")


def open_libraries(database: Database, owner: str) -> None:
    """Open and claim libraries of the same keys; tell the id of each and whether we got it."""
    libraries = LibraryStore(database)
    for number in range(10):
        library = libraries.open(
            key=f"{number:064}",
            architecture="cifar_resnet8",
            teacher="2" * 64,
            data="3" * 64,
            recipe={},
            teacher_cost={},
        )
        is_ours = libraries.claim(library.id, owner, seconds=60)
        sys.stdout.write(f"{library.id}:{is_ours}\n")


def migrate(database: Database, _argument: str) -> None:
    database.migrate()
    sys.stdout.write(f"{database.revision()}\n")


def main(command: str, url: str, gate: str, argument: str) -> None:
    sys.stderr.write("ready\n")
    sys.stderr.flush()
    while not Path(gate).exists():
        time.sleep(0.001)
    database = Database(url)
    commands = {"claim": claim, "number": number, "open": open_libraries, "migrate": migrate}
    commands[command](database, argument)
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
