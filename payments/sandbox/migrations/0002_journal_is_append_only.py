"""The journal only grows: a trigger refuses UPDATE, DELETE and TRUNCATE, and another keeps its readers gapless."""

from django.db import migrations

GUARDS = """
CREATE FUNCTION sandbox_journal_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER sandbox_journal_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sandbox_journal
    FOR EACH STATEMENT EXECUTE FUNCTION sandbox_journal_is_append_only();

-- Taken before the row gets its number and held until commit; journal.rows_after asks for it alone (7311042).
CREATE FUNCTION sandbox_journal_writer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7311042);
    RETURN NULL;
END $$;
CREATE TRIGGER sandbox_journal_writer BEFORE INSERT ON sandbox_journal
    FOR EACH STATEMENT EXECUTE FUNCTION sandbox_journal_writer();
"""
NO_GUARDS = """
DROP TRIGGER sandbox_journal_is_append_only ON sandbox_journal;
DROP FUNCTION sandbox_journal_is_append_only();
DROP TRIGGER sandbox_journal_writer ON sandbox_journal;
DROP FUNCTION sandbox_journal_writer();
"""


class Migration(migrations.Migration):
    dependencies = [("sandbox", "0001_initial")]
    operations = [migrations.RunSQL(GUARDS, NO_GUARDS)]
