-- Codes, which somebody waits for, leave before everything else.
CREATE INDEX notify_outbox_urgent ON notify_outbox (due_at) WHERE state = 'waiting' AND template IN ('code', 'recovery');
