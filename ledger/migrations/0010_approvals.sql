-- Maker and checker are two people, whatever they log in as (staff:ada, user:ada); only the maker takes an approval back.
ALTER TABLE ledger_approval ADD CONSTRAINT maker_does_not_decide_the_approval CHECK (
    status NOT IN ('APPROVED', 'REJECTED')
    OR substr(decided_by, strpos(decided_by, ':') + 1) <> substr(made_by, strpos(made_by, ':') + 1));
ALTER TABLE ledger_approval ADD CONSTRAINT maker_alone_withdraws_the_approval CHECK (status <> 'WITHDRAWN' OR decided_by = made_by);

-- Each step is written down, with the actor that the transaction names (ledger/transitions.py): it stays for ever.
CREATE FUNCTION approval_has_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO ledger_approvaltransition (approval_id, before, after, actor, reason)
    VALUES (NEW.id, CASE TG_OP WHEN 'UPDATE' THEN OLD.status ELSE '' END, NEW.status,
            coalesce(current_setting('onebook.actor', true), ''), coalesce(current_setting('onebook.reason', true), ''));
    RETURN NULL;
END $$;
CREATE TRIGGER approval_has_changed AFTER INSERT OR UPDATE ON ledger_approval FOR EACH ROW EXECUTE FUNCTION approval_has_changed();

-- An approval begins as one that waits, says for ever what it said, and is decided once.
CREATE FUNCTION approval_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an approval waits, and is decided once: what it says stays' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER approval_waits_first BEFORE INSERT ON ledger_approval FOR EACH ROW
    WHEN (NEW.status <> 'WAITING') EXECUTE FUNCTION approval_is_fixed();
CREATE TRIGGER approval_is_fixed BEFORE UPDATE ON ledger_approval FOR EACH ROW
    WHEN (OLD.status <> 'WAITING'
          OR (NEW.public_id, NEW.kind, NEW.subject, NEW.terms, NEW.memo, NEW.made_by, NEW.made_at, NEW.expires_at)
             IS DISTINCT FROM (OLD.public_id, OLD.kind, OLD.subject, OLD.terms, OLD.memo, OLD.made_by, OLD.made_at, OLD.expires_at))
    EXECUTE FUNCTION approval_is_fixed();
CREATE TRIGGER approval_stays BEFORE DELETE OR TRUNCATE ON ledger_approval
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();

CREATE TRIGGER approval_transitions_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_approvaltransition
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
