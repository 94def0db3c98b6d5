-- What a payment file says stays: its terms from the beginning, how much it pays once it has its hash, who approved and fetched it.
CREATE FUNCTION payment_file_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'payment file % is %: what it says stays as it is', OLD.public_id, OLD.status USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER payment_file_is_fixed BEFORE UPDATE ON payouts_paymentfile FOR EACH ROW
    WHEN (NEW.public_id <> OLD.public_id OR NEW.message_id <> OLD.message_id OR NEW.provider <> OLD.provider OR NEW.format <> OLD.format
          OR NEW.execute_on <> OLD.execute_on OR NEW.debtor <> OLD.debtor OR NEW.currency <> OLD.currency
          OR NEW.created_by <> OLD.created_by OR NEW.created_at <> OLD.created_at
          OR OLD.sha256 <> '' AND (NEW.sha256 <> OLD.sha256 OR NEW.count <> OLD.count OR NEW.total <> OLD.total)
          OR OLD.approved_by <> '' AND (NEW.approved_by <> OLD.approved_by OR NEW.approved_at IS DISTINCT FROM OLD.approved_at)
          OR OLD.downloaded_by <> '' AND (NEW.downloaded_by <> OLD.downloaded_by OR NEW.downloaded_at IS DISTINCT FROM OLD.downloaded_at))
    EXECUTE FUNCTION payment_file_is_fixed();

-- A line is never moved, a dropped one never taken up again, and none is added to or dropped from a file that may be at the bank, unless
-- the bank has refused that line, or it or a person the file.
CREATE FUNCTION payment_file_line_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'line % of payment file % stays as it is', OLD.number, OLD.file_id USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER payment_file_line_is_fixed BEFORE UPDATE ON payouts_paymentfileline FOR EACH ROW
    WHEN (NEW.file_id <> OLD.file_id OR NEW.number <> OLD.number OR NEW.payout_id <> OLD.payout_id OR NEW.text <> OLD.text
          OR OLD.dropped_at IS NOT NULL AND NEW.dropped_at IS DISTINCT FROM OLD.dropped_at)
    EXECUTE FUNCTION payment_file_line_is_fixed();

CREATE FUNCTION payment_file_lines_are_complete() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    complete text;
BEGIN
    SELECT min(file.public_id) INTO complete FROM payouts_paymentfile AS file
    WHERE file.sha256 <> '' AND file.id IN (SELECT file_id FROM added);
    IF complete IS NOT NULL THEN
        RAISE EXCEPTION 'payment file % is complete: no line can be added', complete USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER payment_file_lines_are_complete AFTER INSERT ON payouts_paymentfileline
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION payment_file_lines_are_complete();

CREATE FUNCTION payment_file_lines_are_kept() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    sent text;
BEGIN
    SELECT min(file.public_id) INTO sent
    FROM earlier JOIN later ON later.id = earlier.id JOIN payouts_paymentfile AS file ON file.id = later.file_id
    WHERE earlier.dropped_at IS NULL AND later.dropped_at IS NOT NULL AND file.sha256 <> '' AND file.status <> 'REJECTED'
      AND later.bank_status <> 'RJCT';
    IF sent IS NOT NULL THEN
        RAISE EXCEPTION 'payment file % may be at the bank: no line can be dropped', sent USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER payment_file_lines_are_kept AFTER UPDATE ON payouts_paymentfileline
    REFERENCING OLD TABLE AS earlier NEW TABLE AS later FOR EACH STATEMENT EXECUTE FUNCTION payment_file_lines_are_kept();

CREATE FUNCTION payment_file_status_has_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (VALUES
        ('MADE', 'APPROVED'), ('MADE', 'REJECTED'), ('APPROVED', 'ACCEPTED'), ('APPROVED', 'PARTLY'), ('APPROVED', 'REJECTED'),
        ('ACCEPTED', 'PARTLY'), ('ACCEPTED', 'REJECTED'), ('PARTLY', 'REJECTED')) THEN
        RAISE EXCEPTION 'no such transition: file %: % to %', OLD.public_id, OLD.status, NEW.status
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO payouts_payouttransition (kind, object_id, before, after, actor, reason)
    VALUES ('file', OLD.id, OLD.status, NEW.status,
            coalesce(current_setting('onebook.actor', true), ''), coalesce(current_setting('onebook.reason', true), ''));
    RETURN NULL;
END $$;
CREATE TRIGGER payment_file_status_has_changed AFTER UPDATE ON payouts_paymentfile FOR EACH ROW
    WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION payment_file_status_has_changed();

CREATE TRIGGER answers_of_banks_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payouts_paymentfileanswer
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
