// A customer looks after his account: every page of it, as a phone, a desktop, the dark, Arabic and a keyboard show it.
import { choice, decision, expectGreeted, field, goodPassword, send, signIn, signUp, turn } from '../support/customer.js';
import { newAddress } from '../support/inbox.js';
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
    await field(page, 'given_name').fill('Ana');
    await field(page, 'website').fill('ana');
    await turn(page, () => field(page, 'website').press('Enter'));
    await expect(field(page, 'given_name')).toHaveValue('Ana');
    await look(page, 'portal-profile-error');
    await send(page, 'website', '');
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
