-- Whatever becomes of a mismatch is written down, with the actor that the transaction names (ledger/transitions.py): it stays for ever.
CREATE FUNCTION mismatch_has_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO reconciliation_mismatchtransition (mismatch_id, what, before, after, actor, reason)
    SELECT NEW.id, change.what, change.before, change.after,
           coalesce(current_setting('onebook.actor', true), ''), coalesce(current_setting('onebook.reason', true), '')
    FROM (VALUES ('owner', OLD.owner, NEW.owner),
                 ('mismatch', CASE WHEN OLD.resolved_at IS NULL THEN 'open' ELSE 'resolved' END,
                              CASE WHEN NEW.resolved_at IS NULL THEN 'open' ELSE 'resolved' END)) AS change (what, before, after)
    WHERE change.before <> change.after;
    IF OLD.resolved_at IS NULL AND NEW.resolved_at IS NOT NULL THEN
        UPDATE reconciliation_proposal SET status = 'WITHDRAWN', decided_at = NEW.resolved_at
        WHERE mismatch_id = NEW.id AND status = 'WAITING';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER mismatch_has_changed AFTER UPDATE ON reconciliation_mismatch FOR EACH ROW
    WHEN (NEW.owner <> OLD.owner OR NEW.resolved_at IS DISTINCT FROM OLD.resolved_at)
    EXECUTE FUNCTION mismatch_has_changed();

CREATE FUNCTION proposal_has_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO reconciliation_mismatchtransition (mismatch_id, what, before, after, actor, reason)
    VALUES (NEW.mismatch_id, 'proposal', CASE TG_OP WHEN 'UPDATE' THEN OLD.status ELSE '' END, NEW.status,
            coalesce(current_setting('onebook.actor', true), ''), coalesce(current_setting('onebook.reason', true), ''));
    RETURN NULL;
END $$;
CREATE TRIGGER proposal_has_changed AFTER INSERT OR UPDATE ON reconciliation_proposal FOR EACH ROW EXECUTE FUNCTION proposal_has_changed();

-- A proposal begins as one that waits, says for ever what it said, and is decided once.
CREATE FUNCTION proposal_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a proposal waits, and is decided once: what it says stays' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER proposal_waits_first BEFORE INSERT ON reconciliation_proposal FOR EACH ROW
    WHEN (NEW.status <> 'WAITING') EXECUTE FUNCTION proposal_is_fixed();
CREATE TRIGGER proposal_is_fixed BEFORE UPDATE ON reconciliation_proposal FOR EACH ROW
    WHEN (OLD.status <> 'WAITING'
          OR (NEW.mismatch_id, NEW.account, NEW.memo, NEW.made_by, NEW.made_at)
             IS DISTINCT FROM (OLD.mismatch_id, OLD.account, OLD.memo, OLD.made_by, OLD.made_at))
    EXECUTE FUNCTION proposal_is_fixed();
CREATE TRIGGER proposal_stays BEFORE DELETE OR TRUNCATE ON reconciliation_proposal
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();

CREATE TRIGGER mismatch_transitions_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_mismatchtransition
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
