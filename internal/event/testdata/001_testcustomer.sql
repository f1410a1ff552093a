-- distribution: id
CREATE TABLE testcustomer (
    tenant  TEXT   NOT NULL,
    id      TEXT   NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
