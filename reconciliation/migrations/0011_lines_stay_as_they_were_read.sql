-- What a file says comes while it is read, and never changes after: no line is updated, and none is added to a file that is STAGED or REFUSED.
-- Once per statement, so that a chunk's COPY pays for one look at its file.
CREATE FUNCTION staged_rows_come_in_time() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT file_id FROM come) AS of JOIN reconciliation_sourcefile AS file ON file.id = of.file_id
               WHERE file.status <> 'RECEIVED') THEN
        RAISE EXCEPTION 'what a file says was read to its end: nothing is added' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER staged_rows_come_in_time AFTER INSERT ON reconciliation_stagedline
    REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION staged_rows_come_in_time();
CREATE TRIGGER staged_rows_come_in_time AFTER INSERT ON reconciliation_stagedbankline
    REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION staged_rows_come_in_time();
CREATE TRIGGER staged_rows_come_in_time AFTER INSERT ON reconciliation_bankstatement
    REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION staged_rows_come_in_time();

CREATE TRIGGER staged_rows_are_append_only BEFORE UPDATE OR TRUNCATE ON reconciliation_stagedline
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
CREATE TRIGGER staged_rows_are_append_only BEFORE UPDATE OR TRUNCATE ON reconciliation_stagedbankline
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
CREATE TRIGGER staged_rows_are_append_only BEFORE TRUNCATE ON reconciliation_bankstatement
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();

-- A statement is closed while its file is read.
CREATE TRIGGER staged_rows_stay_as_they_are AFTER UPDATE ON reconciliation_bankstatement
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION staged_rows_stay();
CREATE TRIGGER staged_rows_stay_where_they_are AFTER UPDATE ON reconciliation_bankstatement
    REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION staged_rows_come_in_time();
