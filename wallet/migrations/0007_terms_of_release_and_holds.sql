-- A hold is placed, and lifted once; what was said of it then stays.  (The function of the second trigger is the ledger's.)
CREATE FUNCTION hold_is_only_lifted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'hold % can be lifted, once, and nothing else of it can be changed', OLD.public_id
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER hold_is_only_lifted BEFORE UPDATE ON wallet_sellerhold FOR EACH ROW
    WHEN ((NEW.public_id, NEW.seller_id, NEW.reason, NEW.until, NEW.placed_by, NEW.placed_at)
              IS DISTINCT FROM (OLD.public_id, OLD.seller_id, OLD.reason, OLD.until, OLD.placed_by, OLD.placed_at)
          OR OLD.lifted_at IS NOT NULL
              AND (NEW.lifted_by, NEW.lifted_at, NEW.lift_reason) IS DISTINCT FROM (OLD.lifted_by, OLD.lifted_at, OLD.lift_reason))
    EXECUTE FUNCTION hold_is_only_lifted();
CREATE TRIGGER holds_stay BEFORE DELETE OR TRUNCATE ON wallet_sellerhold FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
