"""What can go wrong with what is remembered. Knows no HTTP and no database driver.

StorageError
├── NotFound            nothing of that kind has that id
├── Conflict            the thing is in a state that forbids the request
├── InvalidCursor       a page was asked for with a cursor that no page gave out
├── FileMissing         no file with that hash
├── CorruptFile         a file's bytes no longer match its hash
├── TooLarge            a stream is longer than its limit
├── FilesError          the place of the files does not do what it should
│   ├── QuotaReached      it has no room for another
│   └── FilesUnavailable  it cannot be reached or written to
├── InvalidDatabaseUrl  the database URL cannot be used
├── SchemaMismatch      the database was made by a newer version of the code
└── Unavailable         the database cannot be reached, or stays locked
"""


class StorageError(Exception):
    """Something cannot be remembered, or what is remembered cannot be given."""


class NotFound(StorageError):
    """Nothing of `kind` has that `id`."""

    def __init__(self, kind: str, id: str) -> None:
        super().__init__(f"no {kind} {id!r}")
        self.kind = kind
        self.id = id


class Conflict(StorageError):
    """The thing is in a state that forbids the request; the message says which would be allowed."""


class InvalidCursor(StorageError):
    """A page was asked for with a cursor that no page gave out."""

    def __init__(self, cursor: str) -> None:
        super().__init__(
            f"cursor {cursor!r} is not one that a page gave as `next`; "
            "leave it out to start from the first page"
        )
        self.cursor = cursor


class InvalidValue(StorageError):
    """A value that the database cannot hold: a zero byte in a text, a number that is too large."""


class FileMissing(StorageError):
    """No file with that hash is stored."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"no file {sha256!r} is stored; upload or make it again")
        self.sha256 = sha256


class CorruptFile(StorageError):
    """A stored file's bytes no longer match the hash that names it."""

    def __init__(self, sha256: str, found: str) -> None:
        super().__init__(
            f"file {sha256} now has the hash {found}: it was damaged after it was stored; "
            "delete it and upload or make it again"
        )
        self.sha256 = sha256
        self.found = found


class TooLarge(StorageError):
    """A stream is longer than its limit. Nothing of it was kept."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the file is larger than the limit of {limit_bytes:,} bytes")
        self.limit_bytes = limit_bytes


class FilesError(StorageError):
    """No file can be stored or fetched now; the message says why, and what to do."""


class QuotaReached(FilesError):
    """The deployment's files take all the bytes that they may. Nothing of the file was kept."""


class FilesUnavailable(FilesError):
    """The place of the files cannot be reached, or not be written to. Nothing was kept."""


class InvalidDatabaseUrl(StorageError):
    """The database URL cannot be used. The message never repeats it: it may hold a password."""


class SchemaMismatch(StorageError):
    """The database has a schema that this version of the code does not know."""

    def __init__(self, found: str, newest: str | None) -> None:
        super().__init__(
            f"the database has schema revision {found}, this version of pareconv knows up to "
            f"{newest}; upgrade pareconv, or point PARECONV_DATABASE_URL to another database"
        )
        self.found = found
        self.newest = newest


class Unavailable(StorageError):
    """The database cannot be reached, or stays locked; nothing of the transaction was kept."""
