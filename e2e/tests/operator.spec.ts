// A one-time link makes an operator: by whoever opens it first, and for an account that nobody gets into any more.
import { field, goodPassword, send, sendCode, signIn, turn } from '../support/customer.js';
import { nextCode, newAddress } from '../support/inbox.js';
import { breakGlass, createOperator, operators } from '../support/operator.js';
import { expect, look, test } from '../support/test.js';

test('whoever opens the link first and chooses a password is an operator, once', async ({ page, browser, at }) => {
  const address = newAddress('operator');
  const link = await breakGlass();

  await page.goto(`${link}&ui_locales=ar`);
  await expect(page.locator('html')).toHaveAttribute('dir', 'rtl');
  await look(page, 'operator-1-address-ar');
  await page.goto(link);
  await expect(field(page, 'identifier')).toBeVisible();
  await look(page, 'operator-1-address');
  await send(page, 'identifier', 'nobody');
  await expect(field(page, 'identifier')).toHaveAttribute('aria-invalid', 'true');
  await look(page, 'operator-2-address-wrong');
  await send(page, 'identifier', address);
  await expect(field(page, 'new_password')).toBeVisible();
  await expect(page.locator('main')).toContainText(address);
  await look(page, 'operator-3-password');
  await send(page, 'new_password', 'short');
  await expect(field(page, 'new_password')).toHaveAttribute('aria-invalid', 'true');
  await look(page, 'operator-4-password-short');
  expect(await operators(), 'looking made somebody an operator').not.toContain(address);
  await send(page, 'new_password', goodPassword);
  expect(await operators()).toContain(address);

  await test.step('and signs in', async () => {
    await expect(field(page, 'identifier')).toBeVisible();
    expect(new URL(page.url()).origin).toBe(at.system);
    await look(page, 'operator-5-sign-in');
    await signIn(page, address, goodPassword);
    await expect(page.locator('main')).toContainText(address);
    expect(new URL(page.url()).origin).toBe(at.system);
    await look(page, 'operator-6-signed-in');
  });

  await test.step('and nobody after', async () => {
    const another = await browser.newContext();
    const late = await another.newPage();
    await late.goto(link);
    await expect(late.getByRole('heading', { level: 1 })).toHaveText("This link doesn't work any more");
    await expect(field(late, 'identifier')).toHaveCount(0);
    await look(late, 'operator-7-used');
    await another.close();
  });
});

test('an operator signs in by a code, and comes back by a link for the account', async ({ page, at }) => {
  const address = newAddress('lost');
  await createOperator(address);

  await page.goto(`${at.system}/sign-in`);
  await send(page, 'identifier', address);
  await turn(page, () => page.locator('button[name="choose"][value="code"]').click());
  await sendCode(page, await nextCode(at.inboxJson, address));
  await expect(page.locator('main')).toContainText(address);

  await page.goto(await breakGlass(address));
  await expect(field(page, 'new_password')).toBeVisible();
  await expect(page.locator('main')).toContainText(address);
  await look(page, 'operator-8-back');
  await send(page, 'new_password', goodPassword);
  await signIn(page, address, goodPassword);
  await expect(page.locator('main')).toContainText(address);
});

test('nobody signs up to the system tenant', async ({ page, at }) => {
  await page.goto(`${at.system}/sign-in`);
  await expect(page.locator('button[name="choose"][value="create"]')).toHaveCount(0);
});
