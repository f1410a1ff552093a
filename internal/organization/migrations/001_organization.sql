-- A company or group of customers. members counts, and its UPDATE puts whoever
-- joins or invites and whoever deletes in an order.
-- distribution: organization
CREATE TABLE organization (
    tenant       TEXT   NOT NULL,
    organization TEXT   NOT NULL,
    slug         TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    status       TEXT   NOT NULL,
    members      BIGINT NOT NULL,
    revision     BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (tenant, organization)
);

-- What is left to be deleted.
CREATE INDEX organization_deleted ON organization (updated_at) WHERE status = 'deleted';

-- Which organization has a slug: what must be unique is keyed by it alone.
-- distribution: slug
CREATE TABLE organization_slug (
    tenant       TEXT NOT NULL,
    slug         TEXT NOT NULL,
    organization TEXT NOT NULL,
    PRIMARY KEY (tenant, slug)
);

-- A customer in an organization, beside the customer: what tokens read.
-- distribution: customer
CREATE TABLE organization_membership (
    tenant       TEXT   NOT NULL,
    customer     TEXT   NOT NULL,
    organization TEXT   NOT NULL,
    roles        TEXT   NOT NULL,
    since        BIGINT NOT NULL,
    added_by     TEXT   NOT NULL,
    PRIMARY KEY (tenant, customer, organization)
);

-- The same beside the organization, written with it: what lists read.
-- distribution: organization
CREATE TABLE organization_member (
    tenant       TEXT   NOT NULL,
    organization TEXT   NOT NULL,
    customer     TEXT   NOT NULL,
    roles        TEXT   NOT NULL,
    since        BIGINT NOT NULL,
    PRIMARY KEY (tenant, organization, customer)
);

-- Somebody who may join. address is sealed with the tenant's key and, like its
-- hash, gone once the invitation has ended; customer is who had the address when
-- it was sent, '' for nobody. secret_hash is the SHA-256 of the 256 bits in the
-- link.
-- distribution: organization
CREATE TABLE organization_invitation (
    tenant       TEXT   NOT NULL,
    organization TEXT   NOT NULL,
    invitation   TEXT   NOT NULL,
    status       TEXT   NOT NULL,
    lookup       BYTEA,
    address      BYTEA,
    customer     TEXT   NOT NULL,
    roles        TEXT   NOT NULL,
    language     TEXT   NOT NULL,
    invited_by   TEXT   NOT NULL,
    secret_hash  BYTEA  NOT NULL,
    sent_at      BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    ended_at     BIGINT NOT NULL,
    PRIMARY KEY (tenant, organization, invitation)
);

CREATE INDEX organization_invitation_lookup ON organization_invitation (tenant, organization, lookup) WHERE lookup IS NOT NULL;
CREATE INDEX organization_invitation_customer ON organization_invitation (tenant, customer) WHERE customer <> '';
CREATE INDEX organization_invitation_expires_at ON organization_invitation (expires_at);

-- Which organization a customer of several chose for an application in a
-- session.
-- distribution: customer
CREATE TABLE organization_choice (
    tenant       TEXT   NOT NULL,
    customer     TEXT   NOT NULL,
    session      TEXT   NOT NULL,
    application  TEXT   NOT NULL,
    organization TEXT   NOT NULL,
    expires_at   BIGINT NOT NULL,
    PRIMARY KEY (tenant, customer, session, application)
);

CREATE INDEX organization_choice_expires_at ON organization_choice (expires_at);
