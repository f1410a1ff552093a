// How the pages behave whoever sees them: weight, language, reload, two tabs, the inbox.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { registerApplication } from '../support/cardea.js';
import { beginSignUp, choose, choice, decision, expectGreeted, field, goodPassword, send, sendCode, signIn, signUp, turn } from '../support/customer.js';
import { newAddress, nextCode } from '../support/inbox.js';
import { expect, look, test } from '../support/test.js';

test('the sign-in page weighs less than 30 KB and asks nobody else', async ({ page, at }) => {
  const origin = new URL(at.issuer).origin;
  const weighed: Promise<number>[] = [];
  const strangers: string[] = [];
  page.on('requestfinished', (request) => {
    const from = new URL(request.url()).origin;
    if (from === new URL(at.shop).origin) return;
    if (from !== origin) strangers.push(request.url());
    weighed.push(request.sizes().then((s) => s.responseBodySize + s.responseHeadersSize));
  });
  await page.goto(`${at.shop}/signin`);
  await expect(field(page, 'identifier')).toBeVisible();
  await page.waitForLoadState('networkidle');
  const bytes = (await Promise.all(weighed)).reduce((sum, n) => sum + n, 0);
  expect(strangers, 'requests to others').toEqual([]);
  expect(bytes, 'something was weighed').toBeGreaterThan(1_000);
  expect(bytes, 'bytes transferred').toBeLessThan(30 * 1024);
});

test('Arabic reads from right to left', async ({ page, at }) => {
  await page.goto(`${at.shop}/signin?lang=ar`);
  await expect(page.locator('html')).toHaveAttribute('dir', 'rtl');
  await expect(page.locator('html')).toHaveAttribute('lang', /^ar/);
  await expect(page.locator('h1')).toContainText(/\p{Script=Arabic}/u);
  await look(page, 'ar-sign-in');

  const address = newAddress('layla');
  await beginSignUp(page, address);
  await expect(page.locator('html')).toHaveAttribute('dir', 'rtl');
  await look(page, 'ar-code');
  await sendCode(page, await nextCode(at.inboxJson, address));
  await expect(field(page, 'new_password')).toBeVisible();
  await look(page, 'ar-new-password');
  await send(page, 'new_password', goodPassword);
  await expectGreeted(page, at.shop, address);
});

test('the language is switched on the page and what was typed stays', async ({ page, at }) => {
  await page.goto(`${at.shop}/signin`);
  await field(page, 'identifier').fill('layla@example.com');
  await turn(page, () => page.locator('button[name="lang"][value="ar"]').click());
  await expect(page.locator('html')).toHaveAttribute('dir', 'rtl');
  await expect(field(page, 'identifier')).toHaveValue('layla@example.com');
});

test('the inbox shows what was sent', async ({ page, at }) => {
  const address = newAddress('reader');
  await page.goto(`${at.shop}/signin`);
  await beginSignUp(page, address);
  const code = await nextCode(at.inboxJson, address);
  await page.goto(at.inbox);
  await expect(page.locator('body')).toContainText(address);
  await expect(page.locator('body')).toContainText(code);
  await look(page, 'inbox');
});

test('two tabs sign in at once', async ({ page, context, at }) => {
  const second = await context.newPage();
  await page.goto(`${at.shop}/signin`);
  await second.goto(`${at.club}/signin`);
  const address = newAddress('tabs');
  await signUp(page, address, goodPassword);
  await expectGreeted(page, at.shop, address);
  await second.goto(`${at.club}/signin`);
  await expectGreeted(second, at.club, address);
});

test('the back button after signing in starts nothing anew', async ({ page, at }) => {
  const address = newAddress('back');
  await page.goto(`${at.shop}/signin`);
  await signUp(page, address, goodPassword);
  await expectGreeted(page, at.shop, address);
  await page.goBack();
  await page.goto(at.shop);
  await expectGreeted(page, at.shop, address);
});

test('a page sent with a forged state offers to start again', async ({ page, at }) => {
  await page.goto(`${at.shop}/signin`);
  await field(page, 'identifier').fill(newAddress('forger'));
  const states = page.locator('main form input[type="hidden"]');
  for (const state of await states.all()) await state.evaluate((input) => ((input as HTMLInputElement).value = 'AAAA'));
  await turn(page, () => field(page, 'identifier').press('Enter'));
  await expect(field(page, 'password')).toHaveCount(0);
  await expect(choice(page, 'restart').or(page.locator('main a'))).toBeVisible();
  await look(page, 'start-again');
});

test('an application with a wrong redirect address is told so, on our page', async ({ page, at }) => {
  const authorize = new URL(await redirectOf(`${at.shop}/signin`));
  authorize.searchParams.set('redirect_uri', 'https://evil.example/callback');
  const answer = await page.goto(authorize.href);
  expect(answer?.status()).toBe(400);
  expect(new URL(page.url()).origin).toBe(new URL(at.issuer).origin);
  await look(page, 'error');
});

test('an application whose callback sends on to another origin is reached', async ({ page, at }) => {
  const end = createServer((_, response) => response.end('<h1>arrived</h1>'));
  const callback = createServer((request, response) => {
    const to = new URL(request.url ?? '/', 'http://localhost');
    response.writeHead(303, { location: `http://localhost:${port(end)}${to.search}` }).end();
  });
  await Promise.all([end, callback].map((s) => new Promise<void>((done) => s.listen(0, '127.0.0.1', done))));
  try {
    const redirectURI = `http://127.0.0.1:${port(callback)}/callback`;
    const app = await registerApplication('A broker', redirectURI);
    const authorize = new URL(`${at.issuer}/authorize`);
    authorize.search = new URLSearchParams({
      client_id: app.clientId,
      redirect_uri: redirectURI,
      response_type: 'code',
      scope: 'openid email',
      code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', // RFC 7636, appendix B
      code_challenge_method: 'S256',
    }).toString();
    await page.goto(authorize.href);
    await signIn(page, at.demoCustomer.identifier, at.demoCustomer.password);
    await turn(page, () => decision(page, 'allow').click());
    await expect(page.locator('h1')).toHaveText('arrived');
    expect(new URL(page.url()).port).toBe(String(port(end)));
    expect(new URL(page.url()).searchParams.get('code')).toBeTruthy();
  } finally {
    end.close();
    callback.close();
  }
});

test('the code page can be left for another address', async ({ page, at }) => {
  await page.goto(`${at.shop}/signin`);
  await beginSignUp(page, newAddress('typo'));
  await choose(page, 'back');
  await expect(field(page, 'identifier')).toBeVisible();
});

const port = (server: Server): number => (server.address() as AddressInfo).port;

async function redirectOf(url: string): Promise<string> {
  const answer = await fetch(url, { redirect: 'manual' });
  const location = answer.headers.get('location');
  if (!location) throw new Error(`${url} answered ${answer.status} without a redirect`);
  return location;
}
