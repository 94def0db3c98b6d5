-- What a gift card or a wallet pays of an order is fixed; it is held first, and then taken or let go, for good.
CREATE FUNCTION tender_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'tender % of order % is %: neither its terms nor its end can change', OLD.id, OLD.order_id, OLD.status
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER tender_is_fixed BEFORE UPDATE ON payments_tender FOR EACH ROW
    WHEN (NEW.order_id <> OLD.order_id OR NEW.value_id <> OLD.value_id OR NEW.amount <> OLD.amount OR NEW.currency <> OLD.currency
          OR NEW.status <> OLD.status AND (OLD.status <> 'HELD' OR NEW.status NOT IN ('TAKEN', 'RELEASED')))
    EXECUTE FUNCTION tender_is_fixed();

-- What an order buys value for never changes, nor how it was paid once it is.  (The function says so already.)
CREATE TRIGGER order_keeps_its_tenders BEFORE UPDATE ON payments_paymentorder FOR EACH ROW
    WHEN (NEW.fills_id IS DISTINCT FROM OLD.fills_id OR OLD.status = 'SUCCESS' AND NEW.tendered <> OLD.tendered)
    EXECUTE FUNCTION order_is_final();
