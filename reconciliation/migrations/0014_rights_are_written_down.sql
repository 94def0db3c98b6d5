-- Whatever changes about what a login may do is written down, with the actor that the transaction names: it stays for ever.
-- Nobody gives rights to themselves, nor takes any from themselves.
CREATE FUNCTION rights_have_changed(login text, what text, before text, after text) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    actor text := coalesce(current_setting('onebook.actor', true), '');
BEGIN
    IF actor = 'staff:' || login AND what <> 'password' THEN
        RAISE EXCEPTION 'nobody changes their own rights, and % would', actor USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO reconciliation_rightstransition (login, what, before, after, actor, reason)
    VALUES (login, what, before, after, actor, coalesce(current_setting('onebook.reason', true), ''));
END $$;

CREATE FUNCTION login_has_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    change record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM rights_have_changed(NEW.username, 'login', '', NEW.username);
    END IF;
    IF TG_OP = 'DELETE' THEN
        PERFORM rights_have_changed(OLD.username, 'login', OLD.username, '');
        RETURN NULL;
    END IF;
    FOR change IN
        SELECT * FROM (VALUES
            ('active', CASE WHEN TG_OP = 'UPDATE' THEN OLD.is_active ELSE true END::text, NEW.is_active::text),
            ('staff', CASE WHEN TG_OP = 'UPDATE' THEN OLD.is_staff ELSE false END::text, NEW.is_staff::text),
            ('superuser', CASE WHEN TG_OP = 'UPDATE' THEN OLD.is_superuser ELSE false END::text, NEW.is_superuser::text)
        ) AS each (what, before, after) WHERE each.before <> each.after
    LOOP
        PERFORM rights_have_changed(NEW.username, change.what, change.before, change.after);
    END LOOP;
    IF TG_OP = 'UPDATE' AND NEW.password <> OLD.password THEN
        PERFORM rights_have_changed(NEW.username, 'password', '', 'changed');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER login_is_made_or_deleted AFTER INSERT OR DELETE ON auth_user FOR EACH ROW EXECUTE FUNCTION login_has_changed();
CREATE TRIGGER login_has_changed AFTER UPDATE ON auth_user FOR EACH ROW
    WHEN ((NEW.is_active, NEW.is_staff, NEW.is_superuser, NEW.password)
          IS DISTINCT FROM (OLD.is_active, OLD.is_staff, OLD.is_superuser, OLD.password))
    EXECUTE FUNCTION login_has_changed();

-- A maker is remembered by name: under a new one they could approve what they proposed.
CREATE FUNCTION login_keeps_its_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the login % keeps its name', OLD.username USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER login_keeps_its_name BEFORE UPDATE ON auth_user FOR EACH ROW
    WHEN (NEW.username <> OLD.username) EXECUTE FUNCTION login_keeps_its_name();

CREATE FUNCTION role_is_given_or_taken() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    change record;
BEGIN
    IF TG_OP = 'INSERT' THEN change := NEW; ELSE change := OLD; END IF;
    PERFORM rights_have_changed(login.username, 'role', CASE TG_OP WHEN 'DELETE' THEN role.name ELSE '' END,
                                CASE TG_OP WHEN 'INSERT' THEN role.name ELSE '' END)
    FROM auth_user AS login, auth_group AS role WHERE login.id = change.user_id AND role.id = change.group_id;
    RETURN NULL;
END $$;
CREATE TRIGGER role_is_given_or_taken AFTER INSERT OR DELETE ON auth_user_groups FOR EACH ROW EXECUTE FUNCTION role_is_given_or_taken();

CREATE FUNCTION right_is_given_or_taken() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    change record;
BEGIN
    IF TG_OP = 'INSERT' THEN change := NEW; ELSE change := OLD; END IF;
    PERFORM rights_have_changed(login.username, 'right', CASE TG_OP WHEN 'DELETE' THEN type.app_label || '.' || permission.codename ELSE '' END,
                                CASE TG_OP WHEN 'INSERT' THEN type.app_label || '.' || permission.codename ELSE '' END)
    FROM auth_user AS login, auth_permission AS permission, django_content_type AS type
    WHERE login.id = change.user_id AND permission.id = change.permission_id AND type.id = permission.content_type_id;
    RETURN NULL;
END $$;
CREATE TRIGGER right_is_given_or_taken AFTER INSERT OR DELETE ON auth_user_user_permissions
    FOR EACH ROW EXECUTE FUNCTION right_is_given_or_taken();

CREATE FUNCTION memberships_change_row_by_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a membership is given or taken, never changed' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER role_stays_whose_it_is BEFORE UPDATE ON auth_user_groups
    FOR EACH STATEMENT EXECUTE FUNCTION memberships_change_row_by_row();
CREATE TRIGGER right_stays_whose_it_is BEFORE UPDATE ON auth_user_user_permissions
    FOR EACH STATEMENT EXECUTE FUNCTION memberships_change_row_by_row();

CREATE TRIGGER rights_transitions_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_rightstransition
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
