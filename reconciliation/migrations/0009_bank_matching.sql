-- Reports within the day that were staged before statements said so.
UPDATE reconciliation_bankstatement AS statement SET has_balances = false
FROM reconciliation_sourcefile AS file WHERE file.id = statement.file_id AND file.format = 'mt942';

-- What was compared stays: a statement's figures and entry, and each line that matched.
CREATE TRIGGER compared_statements_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_comparedstatement
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
CREATE TRIGGER bank_matches_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_banklinematch
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
CREATE TRIGGER mismatch_keeps_its_bank_line BEFORE UPDATE ON reconciliation_mismatch FOR EACH ROW
    WHEN (NEW.bank_line_id IS DISTINCT FROM OLD.bank_line_id) EXECUTE FUNCTION mismatch_is_fixed();
