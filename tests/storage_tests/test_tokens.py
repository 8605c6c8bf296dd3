"""Tokens: made once, told once, revoked for good; what they make is their owner's."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from pareconv.storage.access import Access
from pareconv.storage.errors import NotFound, Unavailable
from pareconv.storage.tables import TokenRow
from pareconv.storage.tokens import PREFIX, Scope, TokenStore


@pytest.fixture
def tokens(database):
    return TokenStore(database)


def used_before(database, token, seconds):
    """The token, as if it had been used last so long ago."""
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    with database.session() as session:
        session.execute(update(TokenRow).where(TokenRow.id == token.id).values(last_used_at=moment))
    return moment


def test_a_token_lets_in_who_has_its_secret(tokens):
    token, secret = tokens.create(Scope.SUBMIT, name="laptop")
    found = tokens.authenticate(secret)
    assert (found.id, found.name, found.scope) == (token.id, "laptop", Scope.SUBMIT)
    assert abs(token.created_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_secret_is_long_recognisable_and_another_each_time(tokens):
    secrets = {tokens.create(Scope.READ)[1] for _ in range(5)}
    assert len(secrets) == 5
    for secret in secrets:
        assert secret.startswith(PREFIX)
        assert len(secret) == len(PREFIX) + 43  # 256 bits, six to a letter


def test_no_column_holds_the_secret(tokens, database):
    _, secret = tokens.create(Scope.ADMIN, name="n")
    with database.session(read_only=True) as session:
        row = session.query(TokenRow).one()
        kept = [str(getattr(row, column.key)) for column in TokenRow.__table__.columns]
    assert not any(secret.removeprefix(PREFIX) in each for each in kept)


@pytest.mark.parametrize("change", [str.upper, lambda s: s[:-1], lambda s: s + "x", lambda _: ""])
def test_nearly_the_secret_is_not_the_secret(tokens, change):
    _, secret = tokens.create(Scope.ADMIN)
    assert tokens.authenticate(change(secret)) is None


def test_the_hash_is_not_the_secret(tokens, database):
    tokens.create(Scope.ADMIN)
    with database.session(read_only=True) as session:
        hashed = session.query(TokenRow).one().sha256
    assert tokens.authenticate(hashed) is None


@pytest.mark.parametrize("secret", ["\ud800", "\0", "pareconv_\u20ac"])
def test_what_is_no_text_lets_nobody_in(tokens, secret):
    assert tokens.authenticate(secret) is None


def test_a_revoked_token_lets_nobody_in_and_stays_in_the_list(tokens):
    token, secret = tokens.create(Scope.ADMIN)
    other, others = tokens.create(Scope.ADMIN)
    revoked = tokens.revoke(token.id)
    assert tokens.authenticate(secret) is None
    assert tokens.authenticate(others).id == other.id
    assert [(each.id, each.revoked_at is None) for each in tokens.all()] == [
        (other.id, True), (token.id, False)
    ]  # fmt: skip
    assert tokens.revoke(token.id) == revoked


def test_an_unknown_token_is_not_revoked_and_owns_nothing(tokens):
    with pytest.raises(NotFound, match="no token 'nowhere'"):
        tokens.revoke("nowhere")
    with pytest.raises(NotFound, match="no token 'nowhere'"):
        tokens.create(Scope.READ, of="nowhere")
    assert not tokens.are_asked_for()


def test_tokens_are_asked_for_from_the_first_one_on(tokens):
    assert not tokens.are_asked_for()
    token, _ = tokens.create(Scope.READ)
    assert tokens.are_asked_for()
    tokens.revoke(token.id)
    assert tokens.are_asked_for()


def test_a_token_sees_its_own_and_an_admin_all(tokens):
    for scope in (Scope.READ, Scope.SUBMIT):
        token, _ = tokens.create(scope)
        assert token.access == Access(token.id, sees_all=False)
    admin, _ = tokens.create(Scope.ADMIN)
    assert admin.access == Access(admin.id, sees_all=True)


def test_a_token_made_for_another_sees_what_is_his(tokens):
    first, _ = tokens.create(Scope.SUBMIT)
    reader, _ = tokens.create(Scope.READ, of=first.id)
    third, _ = tokens.create(Scope.SUBMIT, of=reader.id)
    assert reader.access == third.access == first.access
    admin, _ = tokens.create(Scope.ADMIN)
    assert not tokens.create(Scope.READ, of=admin.id)[0].access.sees_all


@pytest.mark.parametrize(
    ("given", "included"),
    [
        (Scope.READ, [Scope.READ]),
        (Scope.SUBMIT, [Scope.READ, Scope.SUBMIT]),
        (Scope.ADMIN, [Scope.READ, Scope.SUBMIT, Scope.ADMIN]),
    ],
)
def test_a_scope_includes_the_lesser(given, included):
    assert [each for each in Scope if given.includes(each)] == included


def test_the_last_use_is_kept(tokens):
    token, secret = tokens.create(Scope.READ)
    assert token.last_used_at is None
    tokens.authenticate(secret)
    [found] = tokens.all()
    assert abs(found.last_used_at - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(("seconds", "is_noted"), [(50, False), (61, True)])
def test_it_is_written_once_a_minute(tokens, database, seconds, is_noted):
    token, secret = tokens.create(Scope.READ)
    before = used_before(database, token, seconds)
    tokens.authenticate(secret)
    [found] = tokens.all()
    assert (found.last_used_at != before) == is_noted


def test_who_is_refused_uses_nothing(tokens):
    token, secret = tokens.create(Scope.READ)
    tokens.revoke(token.id)
    tokens.authenticate(secret)
    assert tokens.all()[0].last_used_at is None


def test_who_asks_while_nothing_can_be_written_is_let_in(tokens, database, monkeypatch):
    _, secret = tokens.create(Scope.READ)
    session = database.session

    def read_only_alone(*, read_only=False):
        if not read_only:
            raise Unavailable("locked")
        return session(read_only=True)

    monkeypatch.setattr(database, "session", read_only_alone)
    assert tokens.authenticate(secret) is not None
