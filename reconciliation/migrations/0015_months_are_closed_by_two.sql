-- Maker and checker are two people, whatever they log in as (staff:ada, user:ada).
ALTER TABLE reconciliation_monthclose ADD CONSTRAINT two_people_close_a_month CHECK (
    status <> 'CLOSED' OR substr(decided_by, strpos(decided_by, ':') + 1) <> substr(prepared_by, strpos(prepared_by, ':') + 1));

-- A close begins as one that is prepared, says for ever what it said, and is decided once.
CREATE FUNCTION month_close_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the close of a month is prepared, and decided once: what it says stays' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER month_close_is_prepared_first BEFORE INSERT ON reconciliation_monthclose FOR EACH ROW
    WHEN (NEW.status <> 'PREPARED') EXECUTE FUNCTION month_close_is_fixed();
CREATE TRIGGER month_close_is_fixed BEFORE UPDATE ON reconciliation_monthclose FOR EACH ROW
    WHEN (OLD.status <> 'PREPARED'
          OR (NEW.public_id, NEW.month, NEW.prepared_by, NEW.prepared_at, NEW.memo)
             IS DISTINCT FROM (OLD.public_id, OLD.month, OLD.prepared_by, OLD.prepared_at, OLD.memo))
    EXECUTE FUNCTION month_close_is_fixed();
CREATE TRIGGER month_close_stays BEFORE DELETE OR TRUNCATE ON reconciliation_monthclose
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();

-- What a month was closed on is what its hash says, for ever.
ALTER TABLE reconciliation_closeevidence ADD CONSTRAINT evidence_is_what_its_hash_says CHECK (sha256 = encode(sha256(document), 'hex'));
CREATE TRIGGER evidence_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_closeevidence
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
