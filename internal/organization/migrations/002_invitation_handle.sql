-- Invitations to an address of whoever is erased are found without their
-- organization.
CREATE INDEX organization_invitation_address ON organization_invitation (tenant, lookup) WHERE lookup IS NOT NULL;
