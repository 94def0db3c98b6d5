-- A stop says for ever why payouts were stopped, by whom and when; it is lifted once, and that stays, too.
CREATE FUNCTION payout_stop_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'stop % of payouts stays as it is: it is lifted once', OLD.id USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER payout_stop_is_fixed BEFORE UPDATE ON payouts_payoutstop FOR EACH ROW
    WHEN (OLD.lifted_at IS NOT NULL
          OR (NEW.reason, NEW.placed_by, NEW.placed_at) IS DISTINCT FROM (OLD.reason, OLD.placed_by, OLD.placed_at))
    EXECUTE FUNCTION payout_stop_is_fixed();
CREATE TRIGGER payout_stops_stay BEFORE DELETE OR TRUNCATE ON payouts_payoutstop
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
