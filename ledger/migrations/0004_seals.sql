CREATE TRIGGER seals_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_ledgerseal
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
CREATE TRIGGER seals_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entrydigest
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
