-- What was compared stays: a batch's figures and entry, each line that matched, and of a mismatch all but how it ended.
CREATE FUNCTION compared_batch_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'settlement batch % was compared: what it proved stays', OLD.public_id USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER compared_batch_is_fixed BEFORE UPDATE ON reconciliation_settlementbatch FOR EACH ROW
    WHEN (OLD.matched_at IS NOT NULL
          AND (NEW.public_id, NEW.file_id, NEW.psp, NEW.name, NEW.currency, NEW.closed_at, NEW.lines, NEW.matched, NEW.mismatched,
               NEW.paid_out, NEW.fees, NEW.suspended, NEW.journal_entry_id, NEW.matched_at)
              IS DISTINCT FROM
              (OLD.public_id, OLD.file_id, OLD.psp, OLD.name, OLD.currency, OLD.closed_at, OLD.lines, OLD.matched, OLD.mismatched,
               OLD.paid_out, OLD.fees, OLD.suspended, OLD.journal_entry_id, OLD.matched_at))
    EXECUTE FUNCTION compared_batch_is_fixed();
CREATE TRIGGER compared_batch_stays BEFORE DELETE ON reconciliation_settlementbatch FOR EACH ROW EXECUTE FUNCTION compared_batch_is_fixed();

CREATE TRIGGER matches_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_linematch
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();

CREATE FUNCTION mismatch_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'mismatch % stays as it was found: it can only be resolved', OLD.public_id USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER mismatch_is_fixed BEFORE UPDATE ON reconciliation_mismatch FOR EACH ROW
    WHEN ((NEW.public_id, NEW.psp, NEW.line_id, NEW.subject, NEW.currency, NEW.expected, NEW.found, NEW.suspended, NEW.found_at)
          IS DISTINCT FROM
          (OLD.public_id, OLD.psp, OLD.line_id, OLD.subject, OLD.currency, OLD.expected, OLD.found, OLD.suspended, OLD.found_at)
          OR OLD.resolved_at IS NOT NULL AND NEW.resolved_at IS DISTINCT FROM OLD.resolved_at)
    EXECUTE FUNCTION mismatch_is_fixed();
CREATE TRIGGER mismatch_stays BEFORE DELETE ON reconciliation_mismatch FOR EACH ROW EXECUTE FUNCTION mismatch_is_fixed();
