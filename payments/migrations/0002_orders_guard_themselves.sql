-- What was agreed with the buyer never changes, and what is final stays final.  The conditions are looked at without calling anything.
CREATE FUNCTION order_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'payment order % is %: neither its terms nor a final status can change', OLD.public_id, OLD.status
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER order_is_final BEFORE UPDATE ON payments_paymentorder FOR EACH ROW
    WHEN (OLD.status IN ('SUCCESS', 'CANCELLED') AND NEW.status <> OLD.status
          OR NEW.amount <> OLD.amount OR NEW.fee <> OLD.fee OR NEW.currency <> OLD.currency OR NEW.seller_id <> OLD.seller_id
          OR OLD.journal_entry_id IS NOT NULL AND NEW.journal_entry_id IS DISTINCT FROM OLD.journal_entry_id)
    EXECUTE FUNCTION order_is_final();

-- Room on each page, so that a change of status stays a HOT update.
ALTER TABLE payments_paymentorder SET (fillfactor = 80);
ALTER TABLE payments_paymentevent SET (fillfactor = 80);
ALTER TABLE payments_pspattempt SET (fillfactor = 80);
