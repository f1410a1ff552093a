-- What a customer agreed to, as it was shown: the proof of GDPR, article 7(1).
-- The first acceptance of a version stands.
-- distribution: customer
CREATE TABLE terms_acceptance (
    tenant      TEXT   NOT NULL,
    customer    TEXT   NOT NULL,
    version     TEXT   NOT NULL,
    documents   TEXT   NOT NULL,
    language    TEXT   NOT NULL,
    channel     TEXT   NOT NULL,
    accepted_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, customer, version)
);
