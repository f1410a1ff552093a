// A phone number in the place of an e-mail address: to open an account, to sign in, to recover.
import { choice, choose, expectGreeted, field, goodPassword, send, sendCode, turn } from '../support/customer.js';
import { messages, newAddress, newNumber, nextCode } from '../support/inbox.js';
import { expect, look, test } from '../support/test.js';

const other = 'velvet ladder beside 9 lighthouses';

/** The number as somebody of its country writes it. */
const asTyped = (number: string): string => number.replace(/^\+44(\d{4})(\d+)$/, '0$1 $2');

test('an account by phone: opened, signed in to by a code, recovered', async ({ page, browser, at }) => {
  const number = newNumber();
  await page.goto(`${at.shop}/signin`);
  await choose(page, 'create');
  await look(page, 'phone-0-sign-up');
  await send(page, 'identifier', asTyped(number));
  await expect(field(page, 'code')).toHaveAttribute('autocomplete', 'one-time-code');
  await expect(choice(page, 'by_mail')).toHaveCount(0);
  await look(page, 'phone-1-code');
  const [text] = await messages(at.inboxJson, number);
  expect(text?.kind).toBe('sms');
  expect(text?.text.trimEnd().split('\n').at(-1)).toBe(`@${new URL(at.issuer).hostname} #${text?.code}`);
  await sendCode(page, await nextCode(at.inboxJson, number));
  await send(page, 'new_password', goodPassword);
  await expectGreeted(page, at.shop, '');
  const before = (await messages(at.inboxJson, number)).map((m) => m.code);

  const elsewhere = await browser.newContext();
  const tab = await elsewhere.newPage();
  await tab.goto(`${at.shop}/signin`);
  await look(tab, 'phone-2-sign-in');
  await send(tab, 'identifier', number);
  await choose(tab, 'code');
  await look(tab, 'phone-3-code');
  await sendCode(tab, await nextCode(at.inboxJson, number, before));
  await expectGreeted(tab, at.shop, '');
  await elsewhere.close();
  before.push(...(await messages(at.inboxJson, number)).map((m) => m.code));

  const lost = await browser.newContext();
  const forgot = await lost.newPage();
  await forgot.goto(`${at.issuer}/recover`);
  await look(forgot, 'phone-4-recover');
  await send(forgot, 'identifier', asTyped(number));
  await look(forgot, 'phone-5-recovery-code');
  await sendCode(forgot, await nextCode(at.inboxJson, number, before));
  await send(forgot, 'new_password', other);
  await expect(field(forgot, 'new_password')).toHaveCount(0);
  await page.goto(at.account); // whoever was signed in before is not any more
  await expect(field(page, 'identifier')).toBeVisible();
  await expect.poll(async () => (await messages(at.inboxJson, number)).some((m) => m.links.some((l) => l.includes('/not-me?link=')))).toBe(true);
  await lost.close();
});

test('a number without an account looks like one with, and mail is another way', async ({ page, at }) => {
  const number = newNumber();
  await page.goto(`${at.issuer}/recover`);
  await send(page, 'identifier', number);
  await choose(page, 'by_mail');
  await expect(choice(page, 'by_text')).toBeVisible();
  await look(page, 'phone-6-by-mail');
  expect((await messages(at.inboxJson, number)).length).toBe(1);
  await choose(page, 'by_text');
  await expect(choice(page, 'by_mail')).toBeVisible();
});

test('a number that takes no text messages is refused in words', async ({ page, at }) => {
  await page.goto(`${at.shop}/signin`);
  await choose(page, 'create');
  await send(page, 'identifier', '+44 20 7946 0018');
  await expect(field(page, 'identifier')).toHaveAttribute('aria-invalid', 'true');
  await look(page, 'phone-7-no-texts');
  await send(page, 'identifier', newAddress('instead'));
  await expect(field(page, 'code')).toBeVisible();
});

test('by phone in Arabic', async ({ page, at }) => {
  const number = newNumber();
  await page.goto(`${at.issuer}/recover?ui_locales=ar`);
  await expect(page.locator('html')).toHaveAttribute('dir', 'rtl');
  await turn(page, async () => {
    await field(page, 'identifier').fill(number);
    await field(page, 'identifier').press('Enter');
  });
  await look(page, 'ar-phone-code');
  const first = await nextCode(at.inboxJson, number);
  await choose(page, 'by_mail');
  await look(page, 'ar-phone-by-mail');
  await choose(page, 'by_text');
  const code = await nextCode(at.inboxJson, number, [first]);
  expect((await messages(at.inboxJson, number))[0]?.text).toContain(code);
});
