// Invitations to an organization, and the choice between several.
import { choice, choose, field, goodPassword, send, sendCode, signUp, turn } from '../support/customer.js';
import { messages, newAddress, nextCode } from '../support/inbox.js';
import { createOrganization, invite, setMember } from '../support/organization.js';
import { createApp } from '../support/program.js';
import { expect, look, test } from '../support/test.js';
import type { Page } from '@playwright/test';

const decide = (page: Page, value: string): Promise<void> => turn(page, () => page.locator(`button[name="decision"][value="${value}"]`).click());

test('an invited newcomer opens an account and joins', async ({ page, at }) => {
  const address = newAddress('invited');
  const slug = await createOrganization('Sage & Salt Ltd');
  const link = await invite(at.inboxJson, slug, address, 'admin');
  await page.goto(link);
  await expect(page.getByRole('heading', { level: 1 })).toContainText('Sage & Salt Ltd');
  await expect(page.locator('main')).toContainText(address);
  await look(page, 'organization-1-invited');
  const before = (await messages(at.inboxJson, address)).map((m) => m.code);
  await decide(page, 'continue');
  await expect(field(page, 'code')).toBeVisible();
  await look(page, 'organization-2-code');
  await sendCode(page, await nextCode(at.inboxJson, address, before));
  await choose(page, 'skip');
  await expect(page.locator('button[value="accept"]')).toBeVisible();
  await look(page, 'organization-3-decide');
  await decide(page, 'accept');
  await expect(page.locator('[role="status"]').first()).toContainText('Sage & Salt Ltd');
  await look(page, 'organization-4-joined');
  await page.goto(link);
  await look(page, 'organization-5-member');
  await page.goto(`${at.account}/organizations`);
  await turn(page, () => page.locator('main a.small-button').first().click());
  await look(page, 'organization-6-leave');
  await decide(page, 'leave');
  await expect(page.locator('[role="status"]').first()).toContainText('Sage & Salt Ltd');
  await look(page, 'organization-7-none');
});

test('a known customer accepts, and a used link says so kindly', async ({ page, browser, at }) => {
  const address = newAddress('colleague');
  await page.goto(`${at.shop}/signin`);
  await signUp(page, address, goodPassword);
  const slug = await createOrganization('Rosemary Rentals');
  const link = await invite(at.inboxJson, slug, address, 'member', '--lang', 'ar');
  const elsewhere = await browser.newContext();
  const tab = await elsewhere.newPage();
  await tab.goto(link);
  await decide(tab, 'continue');
  await choose(tab, 'password');
  await send(tab, 'password', goodPassword);
  await expect(tab.locator('button[value="decline"]')).toBeVisible();
  await decide(tab, 'accept');
  await expect(tab.locator('main')).toContainText('Rosemary Rentals');
  await elsewhere.close();
  const stranger = await browser.newContext();
  const dead = await stranger.newPage();
  await dead.goto(link);
  await look(dead, 'organization-dead');
  await stranger.close();
});

test('who is in two organizations chooses one', async ({ page, at }) => {
  const address = newAddress('both');
  await page.goto(`${at.shop}/signin`);
  await signUp(page, address);
  await expect(page.locator('h1').first()).toBeVisible();
  for (const [name, role] of [['Sage & Salt Ltd', 'admin'], ['Rosemary Rentals', 'member']] as const) {
    await setMember(await createOrganization(name), address, role);
  }
  const app = await createApp('Ledger', 'spa', 'http://127.0.0.1:9/callback', 'http://127.0.0.1:9/', '--organization', 'optional');
  const request = new URL(`${app.OIDC_ISSUER}/authorize`);
  request.search = new URLSearchParams({
    client_id: app.OIDC_CLIENT_ID,
    response_type: 'code',
    redirect_uri: 'http://127.0.0.1:9/callback',
    scope: 'openid organization',
    code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
    code_challenge_method: 'S256',
    prompt: 'select_organization',
  }).toString();
  await page.goto(request.href);
  await expect(page.locator('button[name="organization"]')).toHaveCount(2);
  await look(page, 'organization-choose');
  await page.goto(`${request.href}&ui_locales=ar`);
  await look(page, 'ar-organization-choose');
  const back = page.waitForRequest((r) => r.url().startsWith('http://127.0.0.1:9/callback'));
  await page.locator('button[name="organization"]').first().click();
  expect(new URL((await back).url()).searchParams.get('code')).toBeTruthy();
});

test('an invitation in Arabic and German', async ({ page, at }) => {
  const slug = await createOrganization('Sage & Salt Ltd');
  const link = await invite(at.inboxJson, slug, newAddress('arabic'), 'member', '--lang', 'ar');
  await page.goto(`${link}&ui_locales=ar`);
  await expect(page.locator('html')).toHaveAttribute('dir', 'rtl');
  await look(page, 'ar-organization-invited');
  await page.goto(`${link}&ui_locales=de`);
  await look(page, 'de-organization-invited');
  await expect(choice(page, 'skip')).toHaveCount(0);
});
