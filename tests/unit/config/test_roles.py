"""Least privilege on the servers that ./run starts: each role may do its work, and no more."""

import psycopg
import pytest

from config.devservices import APP, OWNER, SANDBOX, Endpoints


def test_the_app_cannot_make_tables(endpoints: Endpoints) -> None:
    with psycopg.connect(endpoints.database_url(APP)) as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("CREATE TABLE loophole (id int)")


def test_the_owner_can_make_tables(endpoints: Endpoints) -> None:
    with psycopg.connect(endpoints.database_url(OWNER)) as owner:
        owner.execute("CREATE TEMPORARY TABLE for_a_moment (id int)")
        owner.execute("CREATE TABLE never_committed (id int)")
        owner.rollback()


@pytest.mark.parametrize(("role", "database"), [(SANDBOX, "onebook"), (APP, "onebook_sandbox"), (OWNER, "postgres")])
def test_nobody_enters_the_database_of_another(endpoints: Endpoints, role: str, database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(endpoints.database_url(role, database))


def test_a_wrong_password_is_refused(endpoints: Endpoints) -> None:
    url = endpoints.database_url(APP).replace(endpoints.passwords[APP], "guess")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url)
