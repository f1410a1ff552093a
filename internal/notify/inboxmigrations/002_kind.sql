-- 'mail' or 'sms'.
ALTER TABLE dev_inbox ADD COLUMN kind TEXT NOT NULL DEFAULT 'mail';
