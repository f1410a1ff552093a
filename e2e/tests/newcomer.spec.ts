// The six points that a newcomer sees (the first, the terminal, is in start.spec.ts).
import { command } from '../support/cardea.js';
import { beginSignUp, choice, choose, decision, expectGreeted, field, goodPassword, send, sendCode, signIn, signUp, turn } from '../support/customer.js';
import { messages, newAddress, nextCode } from '../support/inbox.js';
import { expect, look, test } from '../support/test.js';

const button = { signIn: /^sign in$/i, signOut: /^sign out$/i };

test('a new customer: account in the shop, single sign-on, consent, sign-out', async ({ page, at }) => {
  const address = newAddress('newcomer');

  await test.step('the shop sends to the hosted page', async () => {
    await page.goto(at.shop);
    await look(page, 'shop-before');
    await page.getByRole('link', { name: button.signIn }).first().click();
    await expect(field(page, 'identifier')).toBeVisible();
    expect(page.url().startsWith(new URL(at.issuer).origin)).toBe(true);
    await expect(page.locator('body')).toContainText('Olive & Thyme Shop');
    await expect(field(page, 'identifier')).toHaveAttribute('autocomplete', /username/);
    await look(page, 'sign-in');
  });

  await test.step('an account with an e-mail address and the code from the inbox', async () => {
    await beginSignUp(page, address);
    await expect(page.locator('main')).toContainText(address);
    await expect(field(page, 'code')).toHaveAttribute('autocomplete', 'one-time-code');
    await look(page, 'code');
    const [mail] = await messages(at.inboxJson, address);
    expect(mail?.subject.replace(/\s/g, ''), 'the code is in the first words of the subject').toMatch(new RegExp(`^${mail?.code}`));
    await sendCode(page, await nextCode(at.inboxJson, address));
  });

  await test.step('a password, and back in the shop, greeted', async () => {
    await expect(field(page, 'new_password')).toHaveAttribute('autocomplete', 'new-password');
    await look(page, 'new-password');
    await send(page, 'new_password', goodPassword);
    await expectGreeted(page, at.shop, address);
    await look(page, 'shop-after');
    await page.getByRole('link', { name: 'What we know' }).click();
    await expect(page.locator('main')).toContainText(address);
    await look(page, 'shop-you');
  });

  await test.step('the loyalty club does not ask', async () => {
    await page.goto(at.club);
    await look(page, 'club-before');
    await page.getByRole('link', { name: button.signIn }).first().click();
    await expectGreeted(page, at.club, address);
    await look(page, 'club-after');
  });

  await test.step('recipes asks for consent, with real values', async () => {
    await page.goto(at.recipes);
    await look(page, 'recipes-before');
    await page.getByRole('link', { name: button.signIn }).first().click();
    await expect(decision(page, 'allow')).toBeVisible();
    await expect(page.locator('main')).toContainText('Recipes by Ana');
    await expect(page.locator('main')).toContainText(address);
    const [allow, deny] = await Promise.all([decision(page, 'allow').boundingBox(), decision(page, 'deny').boundingBox()]);
    expect(Math.abs((allow?.height ?? 0) - (deny?.height ?? 1)), 'yes and no weigh the same').toBeLessThan(1);
    await look(page, 'consent');
    await turn(page, () => decision(page, 'allow').click());
    await expectGreeted(page, at.recipes, address);
    await look(page, 'recipes-after');
    await page.goto(`${at.recipes}/signin`);
    await expectGreeted(page, at.recipes, address); // allowed once, not asked again
  });

  await test.step('the account lists what is connected, and disconnects it', async () => {
    await page.goto(at.account);
    await look(page, 'account');
    await page.goto(`${at.account}/applications`);
    const recipes = page.getByRole('listitem').filter({ hasText: 'Recipes by Ana' });
    await turn(page, () => recipes.getByRole('link').click());
    await look(page, 'account-revoke');
    await turn(page, () => page.locator('button[name="decision"][value="remove"]').click());
    await expect(page.getByText('Recipes by Ana no longer has access')).toBeVisible();
    await page.goto(`${at.recipes}/signin`);
    await expect(decision(page, 'allow')).toBeVisible(); // asked again
  });

  await test.step('sign-out asks whether everywhere', async () => {
    const signOut = async () => {
      await page.goto(at.shop);
      await page.getByRole('button', { name: button.signOut }).click();
      await expect(decision(page, 'sign_out')).toBeVisible();
      expect(page.url().startsWith(new URL(at.issuer).origin)).toBe(true);
    };
    await signOut();
    await look(page, 'sign-out');
    await turn(page, () => decision(page, 'stay').click());
    await page.goto(at.shop);
    await expect(page.getByRole('link', { name: button.signIn }).first()).toBeVisible(); // of the shop, yes
    await page.goto(`${at.shop}/signin`);
    await expectGreeted(page, at.shop, address); // but not everywhere
    await signOut();
    await turn(page, () => decision(page, 'sign_out').click());
    await page.goto(`${at.club}/signin`);
    await expect(field(page, 'identifier')).toBeVisible(); // nobody is signed in any more
  });
});

test('back with the password', async ({ page, at }) => {
  await page.goto(`${at.shop}/signin`);
  await send(page, 'identifier', at.demoCustomer.identifier);
  await expect(field(page, 'password')).toHaveAttribute('autocomplete', 'current-password');
  await look(page, 'password');
  await send(page, 'password', 'not the password at all');
  await expect(page.locator('[role="alert"], [aria-invalid="true"]').first()).toBeVisible();
  await expect(field(page, 'password')).toHaveValue('');
  await look(page, 'password-wrong');
  await choose(page, 'back');
  await expect(field(page, 'identifier')).toHaveValue(at.demoCustomer.identifier);
  await signIn(page, at.demoCustomer.identifier, at.demoCustomer.password);
  await expect(page.getByRole('button', { name: button.signOut })).toBeVisible();
  expect(page.url().startsWith(at.shop)).toBe(true);
});

test('back with a code instead, the second one asked for', async ({ page, browser, at }) => {
  const address = newAddress('coder');
  await page.goto(`${at.club}/signin`);
  await signUp(page, address); // without a password
  await expectGreeted(page, at.club, address);
  const before = (await messages(at.inboxJson, address)).map((m) => m.code);

  const elsewhere = await browser.newContext();
  const other = await elsewhere.newPage();
  await other.goto(`${at.shop}/signin`);
  await send(other, 'identifier', address);
  await choose(other, 'code');
  const first = await nextCode(at.inboxJson, address, before);
  await sendCode(other, first === '000000' ? '000001' : '000000');
  await expect(other.locator('[role="alert"], [aria-invalid="true"]').first()).toBeVisible();
  await look(other, 'code-wrong');
  await choose(other, 'resend');
  const second = await nextCode(at.inboxJson, address, [...before, first]);
  await sendCode(other, `${second.slice(0, 3)} ${second.slice(3)}`); // as people copy it
  await expectGreeted(other, at.shop, address);
  await elsewhere.close();
});

test('an address without an account, one without a password, one that is locked and one with look the same', async ({ page, browser, at }) => {
  const bare = newAddress('bare');
  await page.goto(`${at.shop}/signin`);
  await signUp(page, bare);
  await expectGreeted(page, at.shop, bare);

  const locked = newAddress('locked');
  await command('customer', 'create', '--tenant', 'olive-thyme', '--email', locked, '--verified');
  await command('customer', 'lock', '--tenant', 'olive-thyme', locked);

  const seen: Record<string, string> = {};
  for (const [kind, address] of [
    ['unknown', newAddress('nobody')],
    ['without a password', bare],
    ['locked', locked],
    ['with a password', at.demoCustomer.identifier],
  ] as const) {
    const context = await browser.newContext();
    const visitor = await context.newPage();
    await visitor.goto(`${at.shop}/signin`);
    await send(visitor, 'identifier', address);
    await expect(field(visitor, 'password')).toBeVisible();
    await expect(choice(visitor, 'code')).toBeVisible();
    seen[kind] = (await visitor.locator('body').innerText()).replaceAll(address, '…');
    await context.close();
  }
  expect(seen['without a password']).toBe(seen['unknown']);
  expect(seen['locked']).toBe(seen['unknown']);
  expect(seen['with a password']).toBe(seen['unknown']);
});

test('who says no to recipes is taken back kindly', async ({ page, at }) => {
  await page.goto(`${at.shop}/signin`);
  await signUp(page, newAddress('no'), goodPassword);
  await page.goto(`${at.recipes}/signin`);
  await turn(page, () => decision(page, 'deny').click());
  await expect(page.locator('main')).toContainText('You chose not to share your details');
  expect(page.url().startsWith(at.recipes)).toBe(true);
  await look(page, 'recipes-denied');
});

test('a password that is too short is explained and nothing is lost', async ({ page, at }) => {
  const address = newAddress('short');
  await page.goto(`${at.shop}/signin`);
  await beginSignUp(page, address);
  await sendCode(page, await nextCode(at.inboxJson, address));
  await send(page, 'new_password', 'short');
  await expect(field(page, 'new_password')).toHaveAttribute('aria-invalid', 'true');
  await look(page, 'new-password-short');
  await send(page, 'new_password', goodPassword);
  await expectGreeted(page, at.shop, address);
});
