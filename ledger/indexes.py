"""Indexes that are built beside ongoing work, for the migrations of all apps.

A build that was cut short leaves an index that Postgres keeps and never reads; the next `migrate` builds it anew.
"""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently

# A build waits for every older transaction and reads the whole table: the bounds of a request are not for it.
AS_LONG_AS_IT_TAKES = "SET statement_timeout = 0; SET lock_timeout = 0"
AS_BEFORE = "RESET statement_timeout; RESET lock_timeout"


class BuildIndex(AddIndexConcurrently):
    """Build an index without keeping anybody from writing.  Its migration is not atomic."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        schema_editor.execute(AS_LONG_AS_IT_TAKES)
        try:
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(self.index.name)}")
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        finally:
            schema_editor.execute(AS_BEFORE)
