-- distribution: customer
CREATE TABLE journey_run (
    tenant   TEXT   NOT NULL,
    customer TEXT   NOT NULL,
    run      TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, customer, run)
);
CREATE INDEX journey_run_expires ON journey_run (expires_at);
