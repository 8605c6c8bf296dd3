"""Tokens: who may ask, and how much. A token's secret is told once; its hash alone is kept.

The contract, the same on every database:

- Tokens are asked for from the first that was ever made. Rows are never deleted: who revokes the
  last one locks the door and does not take it away.
- What a token makes belongs to its owner: the token itself, or the one that it was made for, whose
  things it sees too. So one who may only read has something to read, and a token that is replaced
  leaves nothing behind.
- A revoked token authenticates nobody, from the next look on.
"""

import hashlib
import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import exists, or_, select, update
from sqlalchemy.orm import Session

from pareconv.storage.access import Access
from pareconv.storage.database import Database
from pareconv.storage.errors import NotFound, Unavailable
from pareconv.storage.ids import new_id
from pareconv.storage.scopes import Scope
from pareconv.storage.tables import TokenRow
from pareconv.storage.values import Value

__all__ = ["PREFIX", "Scope", "Token", "TokenStore"]

logger = logging.getLogger(__name__)

# By which programs that look for leaked secrets, and people, tell what it is.
PREFIX = "pareconv_"
_SECRET_BYTES = 32
_LAST_USE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Token(Value):
    """A token as it was when it was read. `last_used_at` is at most a minute old."""

    id: str
    owner_id: str
    name: str | None
    scope: Scope
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None

    @property
    def access(self) -> Access:
        return Access(self.owner_id, sees_all=self.scope is Scope.ADMIN)


class TokenStore:
    """The tokens of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, scope: Scope, *, name: str | None = None, of: str | None = None
    ) -> tuple[Token, str]:
        """A new token and its secret, which cannot be found out again; `of` is the id of one whose
        things it shall see and add to. NotFound for an unknown one.
        """
        secret = PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
        with self._database.session() as session:
            now = self._database.now(session)
            id = new_id()
            owner_id = id if of is None else self._found(session, of).owner_id
            row = TokenRow(
                id=id,
                owner_id=owner_id,
                name=name,
                scope=scope,
                sha256=_hash(secret),
                created_at=now,
            )
            session.add(row)
            session.flush()
            return Token.from_row(row), secret

    def are_asked_for(self) -> bool:
        """Whether a token was ever made."""
        with self._database.session(read_only=True) as session:
            return bool(session.scalar(select(exists().where(TokenRow.id.is_not(None)))))

    def authenticate(self, secret: str) -> Token | None:
        """The token of that secret, its use noted; None for an unknown or a revoked one."""
        # Of 256 random bits the hash needs neither salt nor slowness, and can be looked up.
        query = select(TokenRow).where(TokenRow.sha256 == _hash(secret))
        with self._database.session(read_only=True) as session:
            row = session.scalars(query).one_or_none()
            token = None if row is None else Token.from_row(row)
        if token is None or token.revoked_at is not None:
            return None
        if token.last_used_at is None or datetime.now(UTC) - token.last_used_at >= _LAST_USE:
            self._note_use(token.id)
        return token

    def all(self) -> list[Token]:
        """Every token, revoked ones too, newest first."""
        with self._database.session(read_only=True) as session:
            rows = session.scalars(select(TokenRow).order_by(TokenRow.id.desc()))
            return [Token.from_row(row) for row in rows]

    def revoke(self, id: str) -> Token:
        """Let nobody in with it from now on; of a revoked one the time stays. NotFound."""
        with self._database.session() as session:
            row = self._found(session, id)
            row.revoked_at = row.revoked_at or self._database.now(session)
            return Token.from_row(row)

    def _found(self, session: Session, id: str) -> TokenRow:
        row = session.get(TokenRow, id, with_for_update=True)
        if row is None:
            raise NotFound("token", id)
        return row

    def _note_use(self, id: str) -> None:
        try:
            with self._database.session() as session:
                now = self._database.now(session)
                last = TokenRow.last_used_at
                is_old = or_(last.is_(None), last <= now - _LAST_USE)
                use = update(TokenRow).where(TokenRow.id == id, is_old)
                session.execute(use.values(last_used_at=now))
        except Unavailable as error:  # who asks something of a busy database is let in all the same
            logger.warning("the last use of token %s was not noted: %s", id, error)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
