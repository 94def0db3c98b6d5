-- No two schedules are for the same orders on the same day.  A text is compared as a range that holds nothing else, because GiST compares
-- ranges without an extension.
CREATE TYPE textrange AS RANGE (subtype = text, collation = "C");
ALTER TABLE payments_feeschedule ADD CONSTRAINT fee_schedules_never_overlap EXCLUDE USING gist (
    int8range(shop_id, shop_id, '[]') WITH =,
    int8range(coalesce(seller_id, 0), coalesce(seller_id, 0), '[]') WITH =,
    textrange(currency, currency, '[]') WITH =,
    textrange(category, category, '[]') WITH =,
    textrange(method, method, '[]') WITH =,
    daterange(valid_from, valid_until) WITH &&
);

-- A schedule and its tiers are in one currency.
ALTER TABLE payments_feeschedule ADD CONSTRAINT fee_schedule_has_one_currency UNIQUE (id, currency);
ALTER TABLE payments_feetier ADD CONSTRAINT fee_tier_is_in_its_schedules_currency
    FOREIGN KEY (schedule_id, currency) REFERENCES payments_feeschedule (id, currency);

-- Nobody knows any more under which of the old schedules an order was opened: they all count as used.
UPDATE payments_feeschedule SET used_at = now();

-- What orders were opened under stays readable for ever: of such a schedule only the end may change.
CREATE FUNCTION fee_schedule_was_used() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'fee schedule % was used: only its end can change', OLD.id USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER fee_schedule_was_used BEFORE UPDATE ON payments_feeschedule FOR EACH ROW
    WHEN (OLD.used_at IS NOT NULL AND to_jsonb(NEW) - 'valid_until' <> to_jsonb(OLD) - 'valid_until')
    EXECUTE FUNCTION fee_schedule_was_used();
CREATE TRIGGER fee_schedule_was_used_and_stays BEFORE DELETE ON payments_feeschedule FOR EACH ROW
    WHEN (OLD.used_at IS NOT NULL) EXECUTE FUNCTION fee_schedule_was_used();

-- The tiers belong to it.  The lock makes a change of theirs wait for the first order, and the first order for it.
CREATE FUNCTION fee_tier_fits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE schedule payments_feeschedule;
BEGIN
    FOR schedule IN SELECT * FROM payments_feeschedule WHERE id IN (OLD.schedule_id, NEW.schedule_id) ORDER BY id FOR UPDATE LOOP
        IF schedule.used_at IS NOT NULL THEN
            RAISE EXCEPTION 'fee schedule % was used: its tiers cannot change', schedule.id USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END LOOP;
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER fee_tier_fits BEFORE INSERT OR UPDATE OR DELETE ON payments_feetier FOR EACH ROW EXECUTE FUNCTION fee_tier_fits();
