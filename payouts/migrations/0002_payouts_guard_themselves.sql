-- What was decided about a payout never changes: to whom, how much, where to, who wished it and who decided, and the entries that say so.
CREATE FUNCTION payout_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'payout % is %: its terms and its entries stay as they are', OLD.public_id, OLD.status
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER payout_is_fixed BEFORE UPDATE ON payouts_payout FOR EACH ROW
    WHEN (NEW.amount <> OLD.amount OR NEW.currency <> OLD.currency OR NEW.seller_id <> OLD.seller_id OR NEW.shop_id <> OLD.shop_id
          OR NEW.bank_account_id <> OLD.bank_account_id OR NEW.provider <> OLD.provider OR NEW.public_id <> OLD.public_id
          OR NEW.journal_entry_id <> OLD.journal_entry_id OR NEW.wallet_entry_id <> OLD.wallet_entry_id
          OR NEW.requested_by <> OLD.requested_by OR NEW.cause <> OLD.cause OR NEW.run_id IS DISTINCT FROM OLD.run_id
          OR OLD.decided_at IS NOT NULL AND (NEW.decided_at IS DISTINCT FROM OLD.decided_at OR NEW.decided_by <> OLD.decided_by)
          OR OLD.paid_entry_id IS NOT NULL AND NEW.paid_entry_id IS DISTINCT FROM OLD.paid_entry_id
          OR OLD.return_entry_id IS NOT NULL AND NEW.return_entry_id IS DISTINCT FROM OLD.return_entry_id
          OR OLD.late_entry_id IS NOT NULL AND NEW.late_entry_id IS DISTINCT FROM OLD.late_entry_id
          OR OLD.late_return_entry_id IS NOT NULL AND NEW.late_return_entry_id IS DISTINCT FROM OLD.late_return_entry_id
          OR OLD.return_wallet_entry_id IS NOT NULL AND NEW.return_wallet_entry_id IS DISTINCT FROM OLD.return_wallet_entry_id
          OR OLD.late_wallet_entry_id IS NOT NULL AND NEW.late_wallet_entry_id IS DISTINCT FROM OLD.late_wallet_entry_id
          OR OLD.late_return_wallet_entry_id IS NOT NULL
              AND NEW.late_return_wallet_entry_id IS DISTINCT FROM OLD.late_return_wallet_entry_id)
    EXECUTE FUNCTION payout_is_fixed();

-- A bank account is never changed under a payout's feet: it is replaced by another row.
CREATE FUNCTION bank_account_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'bank account % cannot be changed, only replaced', OLD.public_id USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER bank_account_is_fixed BEFORE UPDATE ON payouts_bankaccount FOR EACH ROW
    WHEN (NEW.fingerprint <> OLD.fingerprint OR NEW.seller_id <> OLD.seller_id OR NEW.holder <> OLD.holder
          OR NEW.currency <> OLD.currency OR NEW.country <> OLD.country OR OLD.replaced_at IS NOT NULL AND NEW.replaced_at IS NULL)
    EXECUTE FUNCTION bank_account_is_fixed();

-- Whoever changes a status: it is written down, with the actor that the transaction names (ledger/transitions.py), and must be lawful.
CREATE FUNCTION payout_status_has_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    unlawful text;
BEGIN
    SELECT string_agg(format('%s %s: %s to %s', TG_ARGV[0], earlier.public_id, earlier.status, later.status), ', ') INTO unlawful
    FROM earlier JOIN later ON later.id = earlier.id
    WHERE later.status <> earlier.status AND (TG_ARGV[0], earlier.status, later.status) NOT IN (VALUES
        ('payout', 'WAITING', 'EXECUTING'), ('payout', 'WAITING', 'CANCELLED'),
        ('payout', 'EXECUTING', 'SUCCESS'), ('payout', 'EXECUTING', 'FAILED'),
        ('payout', 'SUCCESS', 'RETURNED'), ('payout', 'FAILED', 'SUCCESS'),
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

CREATE TRIGGER payout_status_has_changed AFTER UPDATE ON payouts_payout
    REFERENCING OLD TABLE AS earlier NEW TABLE AS later FOR EACH STATEMENT EXECUTE FUNCTION payout_status_has_changed('payout');
CREATE TRIGGER payout_status_has_changed AFTER UPDATE ON payouts_payoutrun
    REFERENCING OLD TABLE AS earlier NEW TABLE AS later FOR EACH STATEMENT EXECUTE FUNCTION payout_status_has_changed('run');

CREATE TRIGGER payout_transitions_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payouts_payouttransition
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();

ALTER TABLE payouts_payout SET (fillfactor = 80);
