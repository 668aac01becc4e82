-- Keys, indexes, triggers, views, grants and comments: built after loading.

ALTER TABLE users ADD FOREIGN KEY (organization_id) REFERENCES organizations ON DELETE CASCADE;
ALTER TABLE families ADD FOREIGN KEY (organization_id) REFERENCES organizations ON DELETE CASCADE;

ALTER TABLE members ADD CONSTRAINT members_email_unique UNIQUE (email);
ALTER TABLE members
    ADD CONSTRAINT members_organization_id_foreign FOREIGN KEY (organization_id) REFERENCES organizations ON DELETE CASCADE,
    ADD CONSTRAINT members_family_id_foreign FOREIGN KEY (family_id) REFERENCES families ON DELETE SET NULL,
    ADD CONSTRAINT members_user_id_foreign FOREIGN KEY (user_id) REFERENCES users ON DELETE SET NULL;
CREATE INDEX members_name_index ON members (last_name, first_name);
CREATE INDEX members_family_id_index ON members (family_id);
CREATE INDEX members_active_index ON members (organization_id, joined_on) WHERE deleted_at IS NULL AND status = 'active';

ALTER TABLE member_notes
    ADD FOREIGN KEY (member_id) REFERENCES members ON DELETE CASCADE,
    ADD FOREIGN KEY (author_id) REFERENCES users ON DELETE SET NULL;
CREATE INDEX member_notes_member_id_index ON member_notes (member_id);
ALTER TABLE member_documents ADD FOREIGN KEY (member_id) REFERENCES members ON DELETE CASCADE;

ALTER TABLE uploads ADD FOREIGN KEY (uploaded_by) REFERENCES users ON DELETE SET NULL;

ALTER TABLE services ADD FOREIGN KEY (organization_id) REFERENCES organizations ON DELETE CASCADE;
CREATE INDEX services_title_trgm ON services USING gin (title gin_trgm_ops);
CREATE INDEX services_starts_at_index ON services (starts_at DESC, lower(title));

ALTER TABLE attendance_records ADD CONSTRAINT attendance_member_service_unique UNIQUE (member_id, service_id);
ALTER TABLE attendance_records
    ADD FOREIGN KEY (member_id) REFERENCES members ON DELETE CASCADE,
    ADD FOREIGN KEY (service_id) REFERENCES services ON DELETE CASCADE,
    ADD FOREIGN KEY (checked_in_by) REFERENCES users ON DELETE SET NULL;
CREATE INDEX attendance_service_index ON attendance_records (service_id, checked_in_at);

ALTER TABLE qr_codes ADD CONSTRAINT qr_codes_token_unique UNIQUE (token);
ALTER TABLE qr_codes ADD FOREIGN KEY (member_id) REFERENCES members ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX jobs_queue_index ON jobs (queue);
CREATE INDEX sessions_user_id_index ON sessions (user_id);
CREATE INDEX audit_events_actor_index ON audit_events (actor_id, occurred_at);
ALTER TABLE "PrayerRequests" ADD CONSTRAINT "Prayer ""Order""" UNIQUE ("Member Id", "order");

CREATE TRIGGER touch_organizations BEFORE UPDATE ON organizations FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch_users BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch_families BEFORE UPDATE ON families FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch_members BEFORE UPDATE ON members FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch_services BEFORE UPDATE ON services FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE VIEW active_members AS
    SELECT id, organization_id, full_name, email, joined_on
    FROM members WHERE status = 'active' AND deleted_at IS NULL;

CREATE MATERIALIZED VIEW reporting.service_attendance AS
    SELECT s.id AS service_id, s.starts_at, s.title, count(a.id) AS attended,
           count(*) FILTER (WHERE a.method = 'qr') AS by_qr
    FROM services s LEFT JOIN attendance_records a ON a.service_id = s.id
    GROUP BY s.id;
CREATE UNIQUE INDEX service_attendance_key ON reporting.service_attendance (service_id);

CREATE STATISTICS members_place (dependencies) ON organization_id, family_id FROM members;

ALTER TABLE member_notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY notes_public ON member_notes FOR SELECT TO chms_readonly USING (NOT confidential);

GRANT USAGE ON SCHEMA public, reporting TO chms_readonly;
GRANT SELECT ON ALL TABLES IN SCHEMA public, reporting TO chms_readonly;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO chms_readonly;
REVOKE SELECT ON users, sessions, personal_access_tokens FROM chms_readonly;
GRANT SELECT (id, name, role) ON users TO chms_readonly;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO chms_readonly;

COMMENT ON TABLE members IS 'People who belong to an organization; e-mail is unique where it is known';
COMMENT ON COLUMN members.invited_by_id IS 'A member, but no foreign key: that one may be gone';
COMMENT ON TABLE attendance_records IS 'One row for each member and service';
COMMENT ON TABLE "PrayerRequests" IS 'It''s "quoted"';
COMMENT ON CONSTRAINT attendance_member_service_unique ON attendance_records IS 'Nobody attends twice';
