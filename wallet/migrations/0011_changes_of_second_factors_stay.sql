-- What happened to a second factor stays, with by whom and why; only its e-mail goes on, until it was sent.  (The function of the second
-- trigger is the ledger's.)
CREATE FUNCTION second_factor_change_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'change % of the second factor of login % stays as it is', OLD.id, OLD.user_id
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER second_factor_change_stays BEFORE UPDATE ON wallet_secondfactorchange FOR EACH ROW
    WHEN ((NEW.user_id, NEW.kind, NEW.by, NEW.reason, NEW.at, NEW.address)
              IS DISTINCT FROM (OLD.user_id, OLD.kind, OLD.by, OLD.reason, OLD.at, OLD.address)
          OR OLD.sent_at IS NOT NULL AND NEW.sent_at IS DISTINCT FROM OLD.sent_at)
    EXECUTE FUNCTION second_factor_change_stays();
CREATE TRIGGER second_factor_changes_stay BEFORE DELETE OR TRUNCATE ON wallet_secondfactorchange
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
