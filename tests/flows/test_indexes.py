"""An index is built beside ongoing work, and again after a build that was cut short."""

from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models import Index, Q

from ledger.indexes import BuildIndex

VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('gift_card_by_giver')"
TIMEOUT = "SHOW statement_timeout"


def asked(query: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(query)
        [(answer,)] = cursor.fetchall()
        return answer


def test_an_index_whose_build_was_cut_short_is_built_by_the_next_migrate(real_db: None) -> None:
    before = asked(TIMEOUT)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'gift_card_by_giver'::regclass")
    state = MigrationLoader(connection).project_state()
    index = Index(fields=["issued_by", "created_at"], condition=Q(origin="granted"), name="gift_card_by_giver")
    build = BuildIndex("giftcard", index)
    with connection.schema_editor(atomic=False) as editor:
        build.database_forwards("wallet", editor, state, state)
    assert (asked(VALID), asked(TIMEOUT)) == (True, before)
