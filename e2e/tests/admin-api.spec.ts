// The admin API by a client that was generated from its OpenAPI document, as a program of somebody else's would use it.
import { expect, test } from '@playwright/test';
import createClient from 'openapi-fetch';
import type { components, paths } from '../client/admin.js';
import { addresses } from '../support/cardea.js';
import { newAddress } from '../support/inbox.js';

type Customer = components['schemas']['Customer'];

test('a generated client makes, changes and pages with the token that cardea dev gives', async () => {
  const at = addresses();
  const token = (await (await fetch(at.adminToken)).text()).trim();
  const admin = createClient<paths>({ baseUrl: at.system, headers: { Authorization: `Bearer ${token}` } });

  const tenants = await admin.GET('/admin/v1/tenants', { params: { query: { limit: 500 } } });
  expect(tenants.data?.items.map((t) => t.slug)).toContain('olive-thyme');

  const address = newAddress('generated');
  const of = { tenant: 'olive-thyme' };
  const made = await admin.POST('/admin/v1/tenants/{tenant}/customers', {
    params: { path: of, header: { 'Idempotency-Key': address } },
    body: { identifiers: [{ kind: 'email', value: address, verified: true }], profile: { given_name: 'Ana' } },
  });
  expect(made.response.status).toBe(201);
  if (!made.data) throw new Error(JSON.stringify(made.error));
  const customer: Customer = made.data;
  expect(customer.identifiers.map((i) => i.value)).toEqual([address]);

  const path = { ...of, customer: customer.id };
  const etag = made.response.headers.get('ETag') ?? '';
  const changed = await admin.PATCH('/admin/v1/tenants/{tenant}/customers/{customer}/profile', {
    params: { path, header: { 'If-Match': etag } },
    body: { family_name: 'Lopes', given_name: null },
  });
  expect(changed.data).toEqual({ family_name: 'Lopes' });
  const late = await admin.PUT('/admin/v1/tenants/{tenant}/customers/{customer}/profile', { params: { path, header: { 'If-Match': etag } }, body: {} });
  expect(late.error?.status).toBe(412);
  expect(late.error?.type).toBe('https://cardea.id/problems/precondition-failed');

  let seen = 0;
  for (let after: string | undefined; ; ) {
    const page = await admin.GET('/admin/v1/tenants/{tenant}/message-texts', { params: { path: of, query: after === undefined ? { limit: 25 } : { limit: 25, after } } });
    seen += page.data?.items.length ?? 0;
    after = page.data?.next;
    if (after === undefined) break;
  }
  expect(seen).toBeGreaterThan(50);

  await admin.POST('/admin/v1/tenants/{tenant}/customers/{customer}/erase', { params: { path } });
  expect((await admin.GET('/admin/v1/tenants/{tenant}/customers/{customer}', { params: { path } })).response.status).toBe(410);
});

// What the types refuse; never run. Each line would be an error of its own if the document said less.
export async function refusedByTypes(): Promise<void> {
  const admin = createClient<paths>({ baseUrl: '' });
  // @ts-expect-error there is no such address
  await admin.GET('/admin/v1/nowhere');
  // @ts-expect-error a tenant has to be named
  await admin.GET('/admin/v1/tenants/{tenant}/customers', {});
  // @ts-expect-error an application has a name
  await admin.POST('/admin/v1/tenants/{tenant}/applications', { params: { path: { tenant: 'shop' } }, body: { kind: 'web' } });
  // @ts-expect-error what an operator knows of an address is yes or no
  await admin.POST('/admin/v1/tenants/{tenant}/customers', { params: { path: { tenant: 'shop' } }, body: { identifiers: [{ value: 'a@example.com', verified: 'yes' }] } });
}
