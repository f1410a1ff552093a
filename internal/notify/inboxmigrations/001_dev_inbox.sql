-- What `cardea dev` would have sent. Made in development only.
-- distribution: id
CREATE TABLE dev_inbox (
    tenant       TEXT   NOT NULL,
    id           TEXT   NOT NULL,
    to_address   TEXT   NOT NULL,
    from_address TEXT   NOT NULL,
    from_name    TEXT   NOT NULL,
    subject      TEXT   NOT NULL,
    body_text    TEXT   NOT NULL,
    body_html    TEXT   NOT NULL,
    code         TEXT   NOT NULL,
    sent_at      BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE INDEX dev_inbox_id ON dev_inbox (id);
