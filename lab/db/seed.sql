-- Plausible data, the same at every run: what looks random is taken from md5
-- of the row's number. psql variables: members, attendance (numbers of rows;
-- attendance at most 9 times members), app_key (as in the application's .env).

SET TIME ZONE 'UTC';
SET work_mem = '128MB';
SET maintenance_work_mem = '512MB';
SET synchronous_commit = off;

INSERT INTO migrations (id, migration, batch) VALUES
    (1, '2014_10_12_000000_create_users_table', 1),
    (2, '2024_01_01_000001_create_members_table', 1),
    (3, '2024_01_01_000002_create_attendance_table', 1),
    (4, '2024_06_01_000003_create_qr_codes_table', 2);

INSERT INTO organizations (id, name, slug, timezone, monthly_budget, settings, created_at, updated_at)
SELECT n, 'Parish of ' || (ARRAY['St Mary', 'São João', 'Святой Николай', '聖ヨハネ', 'Holy Trinity', 'Grace & Peace', 'O''Connell Street', 'Zoë'])[n],
       'Parish-' || n, (ARRAY['Europe/London', 'America/Sao_Paulo', 'Europe/Kyiv', 'Asia/Tokyo'])[1 + n % 4],
       n * 1234.56, jsonb_build_object('colour', substr(md5(n::text), 1, 6), 'capacity', n * 50, 'ratio', 0.1 * n),
       '2020-01-01 00:00:00+00'::timestamptz + n * interval '17 days 3 hours',
       '2025-06-01 00:00:00+00'::timestamptz + n * interval '1 hour 0.123456 seconds'
FROM generate_series(1, 8) n;

-- As Laravel's Crypt writes a text: AES-256-CBC, and a signature over iv and value. In a session's own schema, so that no dump has it.
CREATE EXTENSION pgcrypto;
CREATE FUNCTION pg_temp.encrypted(plain text, iv bytea, key bytea) RETURNS text LANGUAGE sql AS $$
    SELECT encode(convert_to(json_build_object('iv', i, 'value', v, 'mac', encode(hmac(convert_to(i || v, 'UTF8'), key, 'sha256'), 'hex'), 'tag', '')::text, 'UTF8'), 'base64')
    FROM (SELECT encode(iv, 'base64'), translate(encode(encrypt_iv(convert_to(plain, 'UTF8'), key, iv, 'aes-cbc/pad:pkcs'), 'base64'), E'\n', '')) AS x(i, v)
$$;

-- The password of every user is "lab-password".
INSERT INTO users (id, organization_id, name, email, password, role, remember_token, two_factor_secret, last_login_at, created_at, updated_at)
SELECT n, 1 + n % 8, CASE n WHEN 1 THEN 'Administrator' ELSE 'User ' || n END,
       CASE n WHEN 1 THEN 'admin@example.org' ELSE 'User' || n || '@Example.org' END,
       '$2y$10$7EcGsiSG5Azf7J2xQTE51uIDnd4bV9l2uxLSBRMdeky3klQDkTqra',
       CASE WHEN n = 1 THEN 'admin' ELSE (ARRAY['pastor', 'leader', 'usher', 'member'])[1 + n % 4] END,
       CASE WHEN n % 3 = 0 THEN md5('remember' || n) END,
       CASE WHEN n % 5 = 0 THEN translate(pg_temp.encrypted(
           upper(md5('secret' || n)), decode(md5('iv' || n), 'hex'), decode(substr(:'app_key', length('base64:') + 1), 'base64')), E'\n', '') END,
       CASE WHEN n % 4 <> 0 THEN '2025-11-01 08:00:00+00'::timestamptz + n * interval '37 minutes 0.5 seconds' END,
       '2021-01-01 00:00:00+00'::timestamptz + n * interval '1 day',
       '2025-01-01 00:00:00+00'::timestamptz + n * interval '1 hour'
FROM generate_series(1, 60) n;
DROP EXTENSION pgcrypto;

INSERT INTO families (id, organization_id, name, address, postcode, created_at, updated_at)
SELECT n, 1 + n % 8,
       (ARRAY['Smith', 'García', 'Müller', 'Okafor', 'Nguyễn', 'Иванов', '田中', 'O''Brien', 'de la Cruz', 'Åström'])[1 + get_byte(h, 0) % 10] || ' family',
       CASE WHEN n % 7 <> 0 THEN (1 + get_byte(h, 1)) || E' High Street\nTown ' || get_byte(h, 2) END,
       upper(substr(encode(h, 'hex'), 9, 3) || ' ' || substr(encode(h, 'hex'), 12, 3)),
       '2022-01-01 00:00:00+00'::timestamptz + get_byte(h, 3) * interval '1 day',
       '2024-01-01 00:00:00+00'::timestamptz + get_byte(h, 4) * interval '1 day 0.000001 seconds'
FROM generate_series(1, :members / 4) n, LATERAL (SELECT decode(md5('family' || n), 'hex')) AS x(h);

INSERT INTO members (id, organization_id, family_id, user_id, first_name, last_name, email, phone, gender, status,
                     date_of_birth, joined_on, baptized_on, giving_total, tags, avatar, remarks, invited_by_id,
                     preferences, created_at, updated_at, deleted_at)
SELECT n, 1 + n % 8,
       CASE WHEN get_byte(h, 0) < 220 THEN 1 + n % (:members / 4) END,
       CASE WHEN n <= 60 THEN n END,
       (ARRAY['Anna', 'José', 'Zoë', 'Chidi', 'Mary-Jane', 'Владимир', '花子', 'Siobhán', 'Ali', 'Þór', 'Grace', 'Paul', 'Ngozi', 'Łukasz', 'Ruth', 'Peter'])[1 + get_byte(h, 1) % 16],
       (ARRAY['Smith', 'García', 'Müller', 'Okafor', 'Nguyễn', 'Иванов', '田中', 'O''Brien', 'de la Cruz', 'Åström', 'Brown', 'Kowalski', 'Abebe', 'Jones', 'Mensah', 'Lee'])[1 + get_byte(h, 2) % 16],
       CASE WHEN n % 20 <> 0 THEN (CASE WHEN n % 3 = 0 THEN 'Member.' ELSE 'member.' END) || n || '@example.org' END,
       CASE WHEN n % 6 <> 0 THEN '+44 20 ' || lpad((get_byte(h, 3) * 30000 + get_byte(h, 4) * 100 + n % 100)::text, 8, '0') END,
       CASE get_byte(h, 5) % 8 WHEN 0 THEN NULL WHEN 1 THEN 'male' WHEN 2 THEN 'male' WHEN 3 THEN 'male' ELSE 'female' END,
       (ARRAY['active', 'active', 'active', 'active', 'inactive', 'visitor', 'transferred', 'deceased'])[1 + get_byte(h, 6) % 8],
       CASE WHEN get_byte(h, 7) > 10 THEN DATE '1940-01-01' + get_byte(h, 7) * 100 + get_byte(h, 8) END,
       DATE '2000-01-01' + get_byte(h, 9) * 30 + get_byte(h, 10),
       CASE WHEN get_byte(h, 11) % 2 = 0 THEN DATE '2001-01-01' + get_byte(h, 11) * 30 END,
       get_byte(h, 12) * get_byte(h, 13) + get_byte(h, 14) / 100.0,
       CASE n % 5 WHEN 0 THEN '{}'::text[] WHEN 1 THEN ARRAY['choir'] WHEN 2 THEN ARRAY['choir', 'has "quotes", commas'] WHEN 3 THEN ARRAY['usher', NULL, 'back\slash'] ELSE ARRAY['youth'] END,
       CASE WHEN n % 50 = 0 THEN h || decode(md5('avatar' || n), 'hex') END,
       CASE n % 40
           WHEN 0 THEN E'tab\there, new\nline, back\\slash and \\N'
           WHEN 1 THEN E'carriage\rreturn, \'quotes\', "double" and \u00e9\u0301 \U0001F54A'
           WHEN 2 THEN ''
           WHEN 3 THEN '\.'
           WHEN 4 THEN E'a|b\x01c'
           ELSE NULL
       END,
       CASE WHEN get_byte(h, 15) < 40 THEN 1 + (n * 7919::bigint) % (:members * 2) END,
       CASE WHEN n % 4 <> 0 THEN jsonb_build_object('newsletter', n % 2 = 0, 'language', (ARRAY['en', 'pt', 'uk', 'ja'])[1 + n % 4], 'weight', get_byte(h, 3) / 7.0) END,
       '2023-01-01 00:00:00+00'::timestamptz + n % 900 * interval '1 day' + get_byte(h, 4) * interval '1 minute 0.001 seconds',
       '2025-03-01 00:00:00+00'::timestamptz + n % 240 * interval '1 day' + get_byte(h, 5) * interval '7 minutes 0.000013 seconds',
       CASE WHEN n % 97 = 0 THEN '2025-10-01 12:00:00+00'::timestamptz + n % 24 * interval '1 hour' END
FROM generate_series(1, :members) n, LATERAL (SELECT decode(md5('member' || n), 'hex')) AS x(h);

INSERT INTO member_notes (id, member_id, author_id, body, confidential, created_at, updated_at)
OVERRIDING SYSTEM VALUE
SELECT n, 1 + (n * 31::bigint) % :members, CASE WHEN n % 9 <> 0 THEN 1 + n % 60 END,
       E'Visited on a ' || (ARRAY['Monday', 'вторник', '水曜日'])[1 + n % 3] || E'.\n\tSaid: "' || repeat(md5(n::text) || ' ', 1 + n % 6) || '"',
       n % 10 = 0,
       '2024-01-01 00:00:00+00'::timestamptz + n % 600 * interval '1 day 1 second',
       '2024-01-02 00:00:00+00'::timestamptz + n % 600 * interval '1 day 1 second'
FROM generate_series(1, :members / 10) n;

-- Large objects, with numbers of their own so that these are the same too.
INSERT INTO member_documents (id, member_id, title, content, sha256)
SELECT n, n, 'Certificate № ' || n, lo_from_bytea((700000 + n)::oid, data), sha256(data)
FROM generate_series(1, 12) n,
     LATERAL (SELECT convert_to(repeat(md5('document' || n) || E'\n', n * 400), 'UTF8')) AS x(data);

-- The files that app_reset in lab/lib/app.sh makes, but for skipped.tmp.
INSERT INTO uploads (id, path, title, uploaded_by, created_at)
SELECT n, 'uploads/' || path, path, 1 + n % 60, '2025-03-01 00:00:00+00'::timestamptz + n * interval '1 day'
FROM unnest(ARRAY['welcome.txt', 'letters/Grüße und 手紙.txt', 'photo-1.jpg', 'photo-2.jpg', 'photo-3.jpg', 'photo-4.jpg', 'photo-5.jpg'])
    WITH ORDINALITY AS x(path, n);

INSERT INTO services (id, organization_id, title, kind, starts_at, local_start, duration, doors, offering, created_at, updated_at)
SELECT n, 1 + n % 8, (ARRAY['Morning worship', 'Evening prayer', 'Youth night', 'Messe für alle', 'Богослужение'])[1 + n % 5] || ' ' || n,
       (ARRAY['sunday', 'midweek', 'youth', 'special'])[1 + n % 4]::service_kind,
       '2023-01-01 10:00:00+00'::timestamptz + n * interval '7 days',
       '2023-01-01 10:00:00'::timestamp + n * interval '7 days',
       (60 + n % 4 * 15) * interval '1 minute', '09:00'::time + n % 4 * interval '15 minutes',
       CASE WHEN n % 6 <> 0 THEN n * 12.3456 END,
       '2022-12-01 00:00:00+00'::timestamptz + n * interval '1 hour', '2022-12-01 00:00:00+00'::timestamptz + n * interval '2 hours'
FROM generate_series(1, 150) n;

-- Member k attends services 16 apart, so that no pair repeats.
INSERT INTO attendance_records (id, member_id, service_id, checked_in_by, method, checked_in_at, temperature, device_info)
SELECT k + 1, m, s, CASE WHEN k % 11 <> 0 THEN 1 + k % 60 END,
       (ARRAY['qr', 'qr', 'manual', 'kiosk', 'import'])[1 + get_byte(h, 0) % 5],
       '2023-01-01 09:30:00+00'::timestamptz + s * interval '7 days' + get_byte(h, 1) * interval '11.000007 seconds',
       CASE WHEN get_byte(h, 2) < 30 THEN 36 + get_byte(h, 3) / 100.0 END,
       CASE WHEN get_byte(h, 4) < 200 THEN jsonb_build_object('os', (ARRAY['iOS', 'Android', 'kiosk'])[1 + get_byte(h, 5) % 3], 'version', get_byte(h, 6) % 18, 'id', substr(encode(h, 'hex'), 15, 12)) END
FROM generate_series(0::bigint, :attendance - 1) k,
     LATERAL (SELECT 1 + k % :members, 1 + ((k % :members) * 7 + k / :members * 16) % 150, decode(md5('attendance' || k), 'hex')) AS x(m, s, h);

INSERT INTO qr_codes (id, member_id, token, issued_at, expires_at, scans)
SELECT md5('qr' || n)::uuid, n, encode(sha256(('token' || n)::bytea), 'base64'),
       '2024-02-01 00:00:00+00'::timestamptz + n % 500 * interval '1 hour',
       CASE WHEN n % 3 = 0 THEN 'infinity'::timestamptz WHEN n % 3 = 1 THEN '2027-01-01 00:00:00+00' END, n % 40
FROM generate_series(1, :members / 10) n;

INSERT INTO settings (key, value, updated_at) VALUES
    ('app.name', '"ChMS"', '2025-01-01 00:00:00+00'),
    ('app.motto', '"Всё — 全て — everything\nand a \"quote\""', '2025-01-01 00:00:00+00'),
    ('checkin.window', '{"before": 30, "after": 15.50}', '2025-01-02 00:00:00.1+00'),
    ('nothing', NULL, '2025-01-03 00:00:00+00'),
    ('null', 'null', '2025-01-03 00:00:00+00');

INSERT INTO jobs (id, queue, payload, attempts, reserved_at, available_at, created_at)
SELECT n, CASE WHEN n % 2 = 0 THEN 'default' ELSE 'mail' END,
       json_build_object('job', 'App\Jobs\SendNewsletter', 'id', md5(n::text))::text, 0, NULL, 1764547200 + n, 1764547200 + n
FROM generate_series(1, 25) n;

INSERT INTO sessions (id, user_id, ip_address, user_agent, payload, last_activity)
SELECT md5('session' || n), CASE WHEN n % 3 <> 0 THEN n END, ('10.1.' || n || '.7')::inet, 'Mozilla/5.0 (lab)',
       encode(convert_to('payload ' || n, 'UTF8'), 'base64'), 1764547200 + n
FROM generate_series(1, 40) n;

INSERT INTO personal_access_tokens (id, tokenable_type, tokenable_id, name, token, abilities, last_used_at, created_at)
SELECT n, 'App\Models\User', n, 'phone', encode(sha256(('pat' || n)::bytea), 'hex'), '["*"]',
       CASE WHEN n % 2 = 0 THEN '2025-11-11 11:11:11.111111+00'::timestamptz END, '2025-01-01 00:00:00+00'
FROM generate_series(1, 20) n;

INSERT INTO audit_events (id, occurred_at, actor_id, action, subject, details)
SELECT n, '2024-12-20 00:00:00+00'::timestamptz + n % 390 * interval '1 day' + n % 86400 * interval '1 second',
       1 + n % 60, (ARRAY['login', 'member.update', 'export', 'checkin'])[1 + n % 4],
       CASE WHEN n % 5 <> 0 THEN 'members/' || (1 + n % :members) END,
       CASE WHEN n % 2 = 0 THEN jsonb_build_object('ip', '10.0.0.' || n % 250) END
FROM generate_series(1, :members / 5) n;

INSERT INTO "PrayerRequests" ("Id", "Member Id", "order", "Request ""Text""", "Größe")
SELECT n, CASE WHEN n % 8 <> 0 THEN n END, n % 5, CASE WHEN n % 4 <> 0 THEN 'For health, peace & "strength" ' || n END,
       CASE n % 6 WHEN 0 THEN 'NaN'::float8 WHEN 1 THEN '-Infinity'::float8 WHEN 2 THEN -0.0::float8 WHEN 3 THEN 0.1 + n ELSE NULL END
FROM generate_series(1, 120) n;

SELECT setval('receipt_numbers', 100000 + 10 * 321);
SELECT setval(pg_get_serial_sequence(quote_ident(t), c), greatest(1, :members * 10), true)
FROM (VALUES ('members', 'id'), ('families', 'id'), ('member_notes', 'id'), ('attendance_records', 'id')) v(t, c);
SELECT setval(pg_get_serial_sequence(t, c), 1000, true)
FROM (VALUES ('organizations', 'id'), ('users', 'id'), ('migrations', 'id'), ('member_documents', 'id'), ('services', 'id'), ('uploads', 'id'),
             ('jobs', 'id'), ('personal_access_tokens', 'id'), ('"PrayerRequests"', 'Id')) v(t, c);
