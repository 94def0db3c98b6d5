-- What was said of a bank account stays: its bank, which a payment file names, who gave it and when, who verified it and why; its hold may
-- grow and never shrinks.
DROP TRIGGER bank_account_is_fixed ON payouts_bankaccount;
CREATE TRIGGER bank_account_is_fixed BEFORE UPDATE ON payouts_bankaccount FOR EACH ROW
    WHEN (NEW.fingerprint <> OLD.fingerprint OR NEW.seller_id <> OLD.seller_id OR NEW.holder <> OLD.holder
          OR NEW.currency <> OLD.currency OR NEW.country <> OLD.country OR NEW.kind <> OLD.kind OR NEW.last4 <> OLD.last4
          OR NEW.bic <> OLD.bic OR NEW.bank_name <> OLD.bank_name
          OR NEW.public_id <> OLD.public_id OR NEW.added_by <> OLD.added_by OR NEW.added_at <> OLD.added_at
          OR NEW.usable_from < OLD.usable_from
          OR OLD.verified_at IS NOT NULL AND (NEW.verified_at IS DISTINCT FROM OLD.verified_at
              OR NEW.verified_by <> OLD.verified_by OR NEW.verified_reason <> OLD.verified_reason)
          OR OLD.replaced_at IS NOT NULL AND NEW.replaced_at IS DISTINCT FROM OLD.replaced_at)
    EXECUTE FUNCTION bank_account_is_fixed();
