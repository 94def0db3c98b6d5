-- Who finished a file is part of what it says, as soon as it has its hash.
DROP TRIGGER payment_file_is_fixed ON payouts_paymentfile;
CREATE TRIGGER payment_file_is_fixed BEFORE UPDATE ON payouts_paymentfile FOR EACH ROW
    WHEN (NEW.public_id <> OLD.public_id OR NEW.message_id <> OLD.message_id OR NEW.provider <> OLD.provider OR NEW.format <> OLD.format
          OR NEW.execute_on <> OLD.execute_on OR NEW.debtor <> OLD.debtor OR NEW.currency <> OLD.currency
          OR NEW.created_by <> OLD.created_by OR NEW.created_at <> OLD.created_at
          OR OLD.sha256 <> '' AND (NEW.sha256 <> OLD.sha256 OR NEW.count <> OLD.count OR NEW.total <> OLD.total
                                   OR NEW.finished_by <> OLD.finished_by)
          OR OLD.approved_by <> '' AND (NEW.approved_by <> OLD.approved_by OR NEW.approved_at IS DISTINCT FROM OLD.approved_at)
          OR OLD.downloaded_by <> '' AND (NEW.downloaded_by <> OLD.downloaded_by OR NEW.downloaded_at IS DISTINCT FROM OLD.downloaded_at))
    EXECUTE FUNCTION payment_file_is_fixed();

-- So is who freed a line, and the entries that say that its payout was paid by it, too.
DROP TRIGGER payment_file_line_is_fixed ON payouts_paymentfileline;
CREATE TRIGGER payment_file_line_is_fixed BEFORE UPDATE ON payouts_paymentfileline FOR EACH ROW
    WHEN (NEW.file_id <> OLD.file_id OR NEW.number <> OLD.number OR NEW.payout_id <> OLD.payout_id OR NEW.text <> OLD.text
          OR OLD.dropped_at IS NOT NULL AND (NEW.dropped_at IS DISTINCT FROM OLD.dropped_at OR NEW.freed_by <> OLD.freed_by)
          OR OLD.again_entry_id IS NOT NULL AND NEW.again_entry_id IS DISTINCT FROM OLD.again_entry_id
          OR OLD.again_return_entry_id IS NOT NULL AND NEW.again_return_entry_id IS DISTINCT FROM OLD.again_return_entry_id)
    EXECUTE FUNCTION payment_file_line_is_fixed();

-- A line of a file that was fetched is dropped when the bank has refused it, or when somebody other than who fetched the file has seen that
-- it never left.  Of a file that nobody fetched, a line is dropped with the file.
CREATE OR REPLACE FUNCTION payment_file_lines_are_kept() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    sent text;
BEGIN
    SELECT min(file.public_id) INTO sent
    FROM earlier JOIN later ON later.id = earlier.id JOIN payouts_paymentfile AS file ON file.id = later.file_id
    WHERE earlier.dropped_at IS NULL AND later.dropped_at IS NOT NULL AND file.sha256 <> '' AND later.bank_status <> 'RJCT'
      AND CASE WHEN file.downloaded_at IS NULL THEN file.status <> 'REJECTED' ELSE later.freed_by IN ('', file.downloaded_by) END;
    IF sent IS NOT NULL THEN
        RAISE EXCEPTION 'payment file % may be at the bank: no line can be dropped', sent USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
