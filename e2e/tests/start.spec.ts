// The first point: one short screen, a clean stop, data that stays and data that starts over.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@playwright/test';
import { Agent, type Reached } from '../support/agent.js';
import { freePorts, startDev, type Addresses } from '../support/cardea.js';
import { goodPassword } from '../support/customer.js';
import { newAddress, nextCode } from '../support/inbox.js';

test('cardea dev says where everything is, keeps its data, and starts over when told to', async () => {
  const data = mkdtempSync(join(tmpdir(), 'cardea-start-'));
  const ports = await freePorts();
  const address = newAddress('kept');
  try {
    const first = await startDev(data, ports, '--fresh');
    try {
      const screen = first.printed();
      const { demoCustomer, ...links } = first.addresses;
      for (const link of [links.shop, links.club, links.recipes, links.account, links.inbox, links.adminApi, links.adminToken]) expect(screen).toContain(link);
      for (const label of [/shop/i, /club/i, /recipes/i, /account/i, /inbox/i]) expect(screen).toMatch(label);
      expect(screen).toContain(demoCustomer.identifier);
      expect(screen).toContain(demoCustomer.password);
      expect(screen.trimEnd().split('\n').length, 'lines on the screen').toBeLessThanOrEqual(24);
      const shop = await createAccount(first.addresses, address);
      expect(shop.text).toContain(address);
    } finally {
      expect(await first.stop(), 'exit code after an interrupt').toBe(0);
    }

    const second = await startDev(data, ports);
    try {
      const greeted = await signIn(second.addresses, address);
      expect(greeted.url.startsWith(second.addresses.shop)).toBe(true);
      expect(greeted.text).toContain(address);
    } finally {
      expect(await second.stop()).toBe(0);
    }

    const third = await startDev(data, ports, '--fresh');
    try {
      const refused = await signIn(third.addresses, address);
      expect(refused.url.startsWith(third.addresses.shop)).toBe(false);
    } finally {
      expect(await third.stop()).toBe(0);
    }
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
});

async function createAccount(at: Addresses, address: string): Promise<Reached> {
  const agent = new Agent();
  let page = await agent.get(`${at.shop}/signin`);
  page = await agent.submit(page, 'identifier', { identifier: address, choose: 'create' });
  if (!page.forms.some((f) => f.names.includes('code'))) page = await agent.submit(page, 'identifier', { identifier: address });
  page = await agent.submit(page, 'code', { code: await nextCode(at.inboxJson, address) });
  return agent.submit(page, 'new_password', { new_password: goodPassword });
}

async function signIn(at: Addresses, address: string): Promise<Reached> {
  const agent = new Agent();
  const page = await agent.submit(await agent.get(`${at.shop}/signin`), 'identifier', { identifier: address });
  return agent.submit(page, 'password', { password: goodPassword });
}
