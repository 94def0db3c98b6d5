CREATE TRIGGER mismatch_keeps_what_it_could_be BEFORE UPDATE ON reconciliation_mismatch FOR EACH ROW
    WHEN (NEW.could_be IS DISTINCT FROM OLD.could_be) EXECUTE FUNCTION mismatch_is_fixed();

-- A tolerance says for ever what it said; only its end may be moved.
CREATE FUNCTION tolerance_is_fixed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.currency, NEW.psp, NEW.amount, NEW.days, NEW.valid_from, NEW.made_by, NEW.made_at)
       IS NOT DISTINCT FROM (OLD.currency, OLD.psp, OLD.amount, OLD.days, OLD.valid_from, OLD.made_by, OLD.made_at)
    THEN RETURN NEW; END IF;
    RAISE EXCEPTION 'tolerance % stays as it was made: it can only be ended', OLD.id USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER tolerance_is_fixed BEFORE UPDATE OR DELETE ON reconciliation_tolerancerule FOR EACH ROW EXECUTE FUNCTION tolerance_is_fixed();

CREATE FUNCTION tolerance_has_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO reconciliation_tolerancechange (rule_id, before, after, actor, reason)
    VALUES (NEW.id, CASE TG_OP WHEN 'UPDATE' THEN coalesce(OLD.valid_until::text, '') ELSE '' END, coalesce(NEW.valid_until::text, ''),
            coalesce(current_setting('onebook.actor', true), ''), coalesce(current_setting('onebook.reason', true), ''));
    RETURN NULL;
END $$;
CREATE TRIGGER tolerance_has_changed AFTER INSERT OR UPDATE ON reconciliation_tolerancerule FOR EACH ROW EXECUTE FUNCTION tolerance_has_changed();

CREATE TRIGGER tolerance_changes_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_tolerancechange
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
