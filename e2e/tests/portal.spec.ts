// A customer looks after his account: every page of it, as a phone, a desktop, the dark, Arabic and a keyboard show it.
import { hookSecret, sleep } from '../support/cardea.js';
import { choice, decision, expectGreeted, field, goodPassword, send, sendCode, signIn, signUp, turn } from '../support/customer.js';
import { messages, newAddress, newNumber, nextCode, type Message } from '../support/inbox.js';
import { expect, look, test } from '../support/test.js';

const pages = ['', '/profile', '/sign-in', '/devices', '/applications', '/preferences'];

test('every page of the account', async ({ page, browser, at }) => {
  const address = newAddress('portal');
  await page.goto(`${at.shop}/signin`);
  await signUp(page, address, goodPassword);
  await expectGreeted(page, at.shop, address);
  await page.goto(`${at.recipes}/signin`);
  await turn(page, () => decision(page, 'allow').click());
  await expectGreeted(page, at.recipes, address);
  const phone = await browser.newContext({ userAgent: 'Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0' });
  const elsewhere = await phone.newPage();
  await elsewhere.goto(at.account);
  await signIn(elsewhere, address, goodPassword);

  for (const path of pages) {
    await page.goto(at.account + path);
    await look(page, `portal${path.replaceAll('/', '-')}`);
    await page.goto(`${at.account}${path}?ui_locales=ar`);
    await expect(page.locator('html')).toHaveAttribute('dir', 'rtl');
    await look(page, `portal${path.replaceAll('/', '-')}-ar`);
  }

  await test.step('the profile', async () => {
    await page.goto(`${at.account}/profile`);
    const other = await page.context().newPage();
    await other.goto(`${at.account}/profile`);
    await field(page, 'birthdate').fill('1990-02-28');
    await send(page, 'given_name', 'Ana');
    await expect(page.getByText('Your profile is saved.')).toBeVisible();
    await field(other, 'given_name').fill('Anna');
    await turn(other, () => field(other, 'given_name').press('Enter'));
    await expect(other.getByText('changed in another window')).toBeVisible();
    await look(other, 'portal-profile-met');
    await other.close();
  });

  await test.step('another device is signed out', async () => {
    await page.goto(`${at.account}/devices`);
    await turn(page, () => page.locator('button[name="end"]').click());
    await expect(page.getByText('That device is signed out.')).toBeVisible();
    await elsewhere.goto(at.account);
    await expect(field(elsewhere, 'identifier')).toBeVisible();
    await phone.close();
  });

  await test.step('dark and German, chosen and kept', async () => {
    await page.goto(`${at.account}/preferences`);
    await page.getByLabel('Deutsch').check();
    await page.getByLabel('Dark').check();
    await turn(page, () => page.locator('button.primary').click());
    await expect(page.locator('html')).toHaveAttribute('data-scheme', 'dark');
    await expect(page.locator('html')).toHaveAttribute('lang', 'de');
    await look(page, 'portal-preferences-chosen');
    await page.goto(at.account);
    await look(page, 'portal-dark-de');
    await turn(page, () => choice(page, 'sign_out').click());
    await expect(page.locator('html')).toHaveAttribute('lang', 'de');
  });
});

/** Has the mail relay report that mail to an address came back. */
async function comesBack(at: { issuer: string }, address: string): Promise<void> {
  const told = await fetch(`${new URL(at.issuer).origin}/hooks/mail/generic`, {
    method: 'POST',
    headers: { authorization: `Bearer ${hookSecret}`, 'content-type': 'application/json' },
    body: JSON.stringify({ tenant: 'olive-thyme', address, reason: 'bounced', at: new Date().toISOString() }),
  });
  expect(told.status).toBe(204);
}

/** Waits for a message to an address whose subject has these words. */
async function told(inboxJson: string, address: string, subject: RegExp): Promise<Message> {
  for (const end = Date.now() + 10_000; Date.now() < end; await sleep(100)) {
    const found = (await messages(inboxJson, address)).find((m) => subject.test(m.subject));
    if (found) return found;
  }
  throw new Error(`${address} was not told ${subject}`);
}

test('addresses and password are changed, and every address is told', async ({ page, browser, at }) => {
  const [first, second] = [newAddress('first'), newAddress('second')];
  await page.goto(`${at.shop}/signin`);
  await signUp(page, first, goodPassword);
  await expectGreeted(page, at.shop, first);
  const phone = await browser.newContext();
  const elsewhere = await phone.newPage();
  await elsewhere.goto(at.account);
  await signIn(elsewhere, first, goodPassword);
  await told(at.inboxJson, first, /^New sign-in/);

  await test.step('an address is added', async () => {
    await page.goto(`${at.account}/sign-in`);
    await turn(page, () => page.getByRole('link', { name: 'Add an e-mail address' }).click());
    await look(page, 'portal-address-1-new');
    await send(page, 'identifier', first);
    await expect(page.getByText('You have this address already.')).toBeVisible();
    await send(page, 'identifier', second);
    await look(page, 'portal-address-2-code');
    await sendCode(page, await nextCode(at.inboxJson, second));
    await expect(page.getByText('The address is added.')).toBeVisible();
    await look(page, 'portal-address-3-added');
    expect((await told(at.inboxJson, first, /^An address was added/)).links.some((l) => l.includes('/not-me?link='))).toBe(true);
    await told(at.inboxJson, second, /^An address was added/);
  });

  await test.step('the first one is removed', async () => {
    await turn(page, () => page.getByRole('link', { name: `Remove ${first}` }).click());
    await look(page, 'portal-address-4-remove');
    await turn(page, () => page.locator('button[name="decision"][value="remove"]').click());
    await expect(page.getByText('The address is removed.')).toBeVisible();
    await expect(page.getByRole('link', { name: /^Remove / })).toHaveCount(0);
  });

  await test.step('the password, by the keyboard alone', async () => {
    await page.goto(`${at.account}/password`);
    await look(page, 'portal-password-1-again');
    if (test.info().project.use.javaScriptEnabled !== false) await expect(field(page, 'password')).toBeFocused();
    await field(page, 'password').focus();
    await page.keyboard.type(goodPassword);
    await turn(page, () => page.keyboard.press('Enter'));
    await look(page, 'portal-password-2-new');
    await field(page, 'new_password').focus();
    await page.keyboard.type('velvet ladder beside 9 lighthouses');
    await turn(page, () => page.keyboard.press('Enter'));
    await expect(page.getByText('every other device is signed out')).toBeVisible();
    await look(page, 'portal-password-3-saved');
    await elsewhere.goto(at.account);
    await expect(field(elsewhere, 'identifier')).toBeVisible();
    await told(at.inboxJson, second, /password was changed/);
  });
  await phone.close();

  await test.step('the account is closed, and kept after all', async () => {
    await page.goto(at.account);
    await turn(page, () => page.getByRole('link', { name: 'Close account' }).click());
    await look(page, 'portal-close-1-ask');
    await turn(page, () => page.locator('button[name="decision"][value="close"]').click());
    await expect(page.getByRole('heading', { name: 'Your account is closed' })).toBeVisible();
    await look(page, 'portal-close-2-done');
    await page.goto(at.account);
    await signIn(page, second, 'velvet ladder beside 9 lighthouses');
    await look(page, 'portal-close-3-keep');
    await turn(page, () => page.locator('button[name="lang"][value="ar"]').click());
    await expect(page.locator('html')).toHaveAttribute('dir', 'rtl');
    await look(page, 'portal-close-3-keep-ar');
    await turn(page, () => page.locator('button[name="decision"][value="keep"]').click());
    await expect(choice(page, 'sign_out')).toBeVisible();
  });
});

test('a phone number, an address that mail comes back from, and what an application gets', async ({ page, at }) => {
  const [address, number] = [newAddress('a.rather.long.address'), newNumber()];
  await page.goto(`${at.recipes}/signin`);
  await signUp(page, address, goodPassword);
  await expect(page.locator('main')).toContainText('Since when you are a customer');
  await turn(page, () => decision(page, 'allow').click());
  await expectGreeted(page, at.recipes, address);

  await test.step('what the application gets', async () => {
    await page.goto(`${at.account}/applications`);
    const since = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC' }).format(new Date());
    await expect(page.locator('.gets')).toContainText(`Since when you are a customer: ${since}`);
    await look(page, 'portal-claims-1-connected');
    await turn(page, () => page.locator('main a.small-button').click());
    await expect(page.locator('.shares')).toContainText('Since when you are a customer');
    await look(page, 'portal-claims-2-one');
    await page.goto(`${page.url()}?ui_locales=ar`);
    await look(page, 'portal-claims-2-one-ar');
  });

  await test.step('a number is added, by the keyboard alone', async () => {
    await page.goto(`${at.account}/sign-in`);
    await page.getByRole('link', { name: 'Add a phone number' }).focus();
    await turn(page, () => page.keyboard.press('Enter'));
    await look(page, 'portal-number-1-new');
    await field(page, 'identifier').focus();
    await page.keyboard.type('020 7946 0018');
    await turn(page, () => page.keyboard.press('Enter'));
    await expect(page.getByText('Use a mobile number.')).toBeVisible();
    await look(page, 'portal-number-2-no-texts');
    await send(page, 'identifier', number.replace(/^\+44(\d{4})(\d+)$/, '0$1 $2'));
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Check your messages');
    await look(page, 'portal-number-3-code');
    await turn(page, () => page.locator('button[name="lang"][value="ar"]').click());
    await look(page, 'portal-number-3-code-ar');
    await turn(page, () => page.locator('button[name="lang"][value="en"]').click());
    await sendCode(page, await nextCode(at.inboxJson, number));
    await expect(page.getByText('The number is added.')).toBeVisible();
    expect((await told(at.inboxJson, address, /^A phone number was added/)).links.some((l) => l.includes('/not-me?link='))).toBe(true);
  });

  await test.step('mail comes back, and the address is confirmed', async () => {
    await comesBack(at, address);
    await page.goto(`${at.account}/sign-in?ui_locales=ar`);
    await look(page, 'portal-returned-1-access-ar');
    await page.goto(`${at.account}/sign-in`);
    await expect(page.getByText('came back')).toBeVisible();
    await look(page, 'portal-returned-1-access');
    const before = (await messages(at.inboxJson, address)).map((m) => m.code);
    await turn(page, () => page.getByRole('link', { name: `Confirm ${address}` }).click());
    await look(page, 'portal-returned-2-ask');
    await turn(page, () => page.locator('button[name="decision"][value="send"]').click());
    await look(page, 'portal-returned-3-code');
    await sendCode(page, await nextCode(at.inboxJson, address, before));
    await expect(page.getByText('The address is confirmed.')).toBeVisible();
    await expect(page.getByText('came back')).toHaveCount(0);
    await look(page, 'portal-returned-4-confirmed');
  });

  await test.step('the number is removed, and told so', async () => {
    await turn(page, () => page.getByRole('link', { name: /^Remove \+44/ }).click());
    await look(page, 'portal-number-4-remove');
    await turn(page, () => page.locator('button[name="decision"][value="remove"]').click());
    await expect(page.getByText('The number is removed.')).toBeVisible();
    await expect.poll(async () => (await messages(at.inboxJson, number)).some((m) => m.kind === 'sms' && m.links.some((l) => l.includes('/not-me?link=')))).toBe(true);
  });
});

test('the account is gone about by the keyboard', async ({ page, at }) => {
  test.skip(test.info().project.use.javaScriptEnabled === false, 'needs to ask the page what is focused');
  await page.goto(at.account);
  await signIn(page, at.demoCustomer.identifier, at.demoCustomer.password);
  const reached: string[] = [];
  for (let i = 0; i < 20; i++) {
    await page.keyboard.press('Tab');
    const name = await page.evaluate(() => document.activeElement?.textContent?.trim().replace(/\s+/g, ' ') ?? '');
    if (reached.includes(name)) break;
    reached.push(name);
  }
  const order = ['Sign out', 'Shop', 'Profile', 'Sign-in', 'Devices', 'Connected applications', 'Language and appearance', 'Close account'];
  const found = order.map((part) => reached.findIndex((name) => name.includes(part)));
  expect(found.every((at, i) => at >= 0 && (i === 0 || at > (found[i - 1] ?? -1))), reached.join(' | ')).toBe(true);
  await page.goto(`${at.account}/devices`);
  await page.keyboard.press('Tab');
  await turn(page, () => page.keyboard.press('Enter')); // back to the account, or its first link
  await expect(choice(page, 'sign_out')).toBeVisible();
});
