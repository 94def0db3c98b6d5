-- A payout that came back is paid after all when another payment file paid it, too.
CREATE OR REPLACE FUNCTION payout_status_has_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    unlawful text;
BEGIN
    SELECT string_agg(format('%s %s: %s to %s', TG_ARGV[0], earlier.public_id, earlier.status, later.status), ', ') INTO unlawful
    FROM earlier JOIN later ON later.id = earlier.id
    WHERE later.status <> earlier.status AND (TG_ARGV[0], earlier.status, later.status) NOT IN (VALUES
        ('payout', 'WAITING', 'EXECUTING'), ('payout', 'WAITING', 'CANCELLED'),
        ('payout', 'EXECUTING', 'SUCCESS'), ('payout', 'EXECUTING', 'FAILED'),
        ('payout', 'SUCCESS', 'RETURNED'), ('payout', 'FAILED', 'SUCCESS'), ('payout', 'RETURNED', 'SUCCESS'),
        ('run', 'WAITING', 'APPROVED'), ('run', 'WAITING', 'REJECTED'));
    IF unlawful IS NOT NULL THEN
        RAISE EXCEPTION 'no such transition: %', unlawful USING ERRCODE = 'integrity_constraint_violation';
    END IF;

    INSERT INTO payouts_payouttransition (kind, object_id, before, after, actor, reason)
    SELECT TG_ARGV[0], later.id, earlier.status, later.status,
           coalesce(current_setting('onebook.actor', true), ''), coalesce(current_setting('onebook.reason', true), '')
    FROM earlier JOIN later ON later.id = earlier.id WHERE later.status <> earlier.status;
    RETURN NULL;
END $$;

-- What such a payment took off the seller, and gave back, stays in the line of its file.
DROP TRIGGER payment_file_line_is_fixed ON payouts_paymentfileline;
CREATE TRIGGER payment_file_line_is_fixed BEFORE UPDATE ON payouts_paymentfileline FOR EACH ROW
    WHEN (NEW.file_id <> OLD.file_id OR NEW.number <> OLD.number OR NEW.payout_id <> OLD.payout_id OR NEW.text <> OLD.text
          OR OLD.dropped_at IS NOT NULL AND (NEW.dropped_at IS DISTINCT FROM OLD.dropped_at OR NEW.freed_by <> OLD.freed_by)
          OR OLD.again_entry_id IS NOT NULL AND NEW.again_entry_id IS DISTINCT FROM OLD.again_entry_id
          OR OLD.again_return_entry_id IS NOT NULL AND NEW.again_return_entry_id IS DISTINCT FROM OLD.again_return_entry_id
          OR OLD.again_wallet_entry_id IS NOT NULL AND NEW.again_wallet_entry_id IS DISTINCT FROM OLD.again_wallet_entry_id
          OR OLD.again_return_wallet_entry_id IS NOT NULL
              AND NEW.again_return_wallet_entry_id IS DISTINCT FROM OLD.again_return_wallet_entry_id)
    EXECUTE FUNCTION payment_file_line_is_fixed();
