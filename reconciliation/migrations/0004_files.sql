-- What was received stays: its bytes, from whom and by whom.  It is read once; only a refused file may be read again.
CREATE FUNCTION source_file_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'file % is %: what was received stays as it is', OLD.public_id, OLD.status
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER source_file_is_fixed BEFORE UPDATE ON reconciliation_sourcefile FOR EACH ROW
    WHEN (NEW.public_id <> OLD.public_id OR NEW.source <> OLD.source OR NEW.name <> OLD.name OR NEW.size <> OLD.size
          OR NEW.sha256 <> OLD.sha256 OR NEW.received_by <> OLD.received_by OR NEW.received_at <> OLD.received_at
          OR OLD.status = 'STAGED' OR (OLD.status, NEW.status) = ('REFUSED', 'STAGED'))
    EXECUTE FUNCTION source_file_is_fixed();
CREATE TRIGGER source_file_stays BEFORE DELETE ON reconciliation_sourcefile FOR EACH ROW EXECUTE FUNCTION source_file_is_fixed();
CREATE TRIGGER originals_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_sourcechunk
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();

-- The lines of a file go only with its refusal: those of a file that was read to its end stay.
CREATE FUNCTION staged_rows_stay() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT file_id FROM gone) AS of JOIN reconciliation_sourcefile AS file ON file.id = of.file_id
               WHERE file.status = 'STAGED') THEN
        RAISE EXCEPTION 'what a file says stays as long as the file' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER staged_rows_stay AFTER DELETE ON reconciliation_stagedline
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION staged_rows_stay();
CREATE TRIGGER staged_rows_stay AFTER DELETE ON reconciliation_stagedbankline
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION staged_rows_stay();
CREATE TRIGGER staged_rows_stay AFTER DELETE ON reconciliation_bankstatement
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION staged_rows_stay();
