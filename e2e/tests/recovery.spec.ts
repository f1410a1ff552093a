// A forgotten password, and a notice that tells of something that the customer did not do.
import { choice, choose, expectGreeted, field, goodPassword, send, sendCode, signIn, signUp, turn } from '../support/customer.js';
import { messages, newAddress, nextCode } from '../support/inbox.js';
import { sleep } from '../support/cardea.js';
import { expect, look, test } from '../support/test.js';

const other = 'velvet ladder beside 9 lighthouses';

/** Waits for the link "This wasn't me" of the newest notice. */
async function notMeLink(inboxJson: string, address: string): Promise<string> {
  for (const end = Date.now() + 10_000; Date.now() < end; await sleep(100)) {
    for (const message of await messages(inboxJson, address)) {
      const link = message.links.find((l) => l.includes('/not-me?link='));
      if (link) return link;
    }
  }
  throw new Error(`no notice came for ${address}`);
}

test('a forgotten password is set anew, and the customer goes on to the application', async ({ page, browser, at }) => {
  const address = newAddress('forgetful');
  await page.goto(`${at.shop}/signin`);
  await signUp(page, address, goodPassword);
  await expectGreeted(page, at.shop, address);

  // Somebody else was in the account, and has put an address of his own there.
  const intruder = newAddress('intruder');
  await page.goto(`${at.account}/sign-in`);
  await turn(page, () => page.getByRole('link', { name: 'Add an e-mail address' }).click());
  await send(page, 'identifier', intruder);
  await sendCode(page, await nextCode(at.inboxJson, intruder));
  await expect(page.getByText('The address is added.')).toBeVisible();
  const first = (await messages(at.inboxJson, address)).map((m) => m.code);

  const elsewhere = await browser.newContext();
  const tab = await elsewhere.newPage();
  await tab.goto(`${at.shop}/signin`);
  await send(tab, 'identifier', address);
  await look(tab, 'recovery-0-password');
  await choose(tab, 'recover');
  await expect(field(tab, 'identifier')).toHaveValue(address);
  await look(tab, 'recovery-1-address');
  await turn(tab, () => field(tab, 'identifier').press('Enter'));
  await expect(field(tab, 'code')).toBeVisible();
  await look(tab, 'recovery-2-code');
  await sendCode(tab, await nextCode(at.inboxJson, address, first));
  await expect(field(tab, 'new_password')).toBeVisible();
  await look(tab, 'recovery-3-new-password');
  await send(tab, 'new_password', other);
  await look(tab, 'recovery-4-added');
  const tick = tab.locator('input[type="checkbox"]');
  await tick.focus(); // by the keyboard alone
  await tab.keyboard.press('Space');
  await expect(tab.getByLabel(`Remove ${intruder}`)).toBeChecked();
  for (const lang of ['de', 'ar', 'en']) {
    await turn(tab, () => tab.locator(`button[name="lang"][value="${lang}"]`).click());
    await expect(tab.locator('html')).toHaveAttribute('lang', lang);
    await expect(tick, 'what was ticked stays').toBeChecked();
    if (lang !== 'en') await look(tab, `${lang}-recovery-4-added`);
  }
  await tab.locator('button[name="decision"][value="continue"]').focus();
  await turn(tab, () => tab.keyboard.press('Enter'));
  await expectGreeted(tab, at.shop, address);
  await tab.goto(`${at.account}/sign-in`);
  await expect(tab.getByText(intruder)).toHaveCount(0);

  await page.goto(at.account); // whoever was signed in before is not any more
  await expect(field(page, 'identifier')).toBeVisible();
  await signIn(page, address, goodPassword);
  await expect(field(page, 'password')).toBeVisible();
  await send(page, 'password', other);
  await expect(choice(page, 'sign_out')).toBeVisible();

  const letter = await browser.newContext();
  const mail = await letter.newPage();
  await mail.goto(await notMeLink(at.inboxJson, address));
  await look(mail, 'not-me-1-ask');
  const link = mail.url();
  const before = (await messages(at.inboxJson, address)).map((m) => m.code);
  await turn(mail, () => mail.locator('button[name="decision"][value="secure"]').click());
  await expect(field(mail, 'identifier')).toHaveValue(address);
  await look(mail, 'not-me-2-recover');
  await page.goto(at.account);
  await expect(field(page, 'identifier')).toBeVisible();
  await turn(mail, () => field(mail, 'identifier').press('Enter'));
  await sendCode(mail, await nextCode(at.inboxJson, address, before));
  await send(mail, 'new_password', goodPassword);
  await expect(choice(mail, 'sign_out')).toBeVisible();
  await look(mail, 'not-me-3-account');
  await mail.goto(link);
  await look(mail, 'not-me-4-used');
  await elsewhere.close();
  await letter.close();
});

test('who has no account learns so once the address is proved', async ({ page, at }) => {
  const address = newAddress('nobody');
  await page.goto(`${at.issuer}/recover?login_hint=${encodeURIComponent(address)}`);
  await expect(field(page, 'identifier')).toHaveValue(address);
  await turn(page, () => field(page, 'identifier').press('Enter'));
  await sendCode(page, await nextCode(at.inboxJson, address));
  await expect(field(page, 'new_password')).toHaveCount(0);
  await look(page, 'recovery-nobody');
  await turn(page, () => page.locator('main form button.primary').click());
  await expect(field(page, 'new_password')).toBeVisible();
});

test('recovery in Arabic and German', async ({ page, at }) => {
  await page.goto(`${at.issuer}/recover?ui_locales=ar&login_hint=${encodeURIComponent(at.demoCustomer.identifier)}`);
  await expect(page.locator('html')).toHaveAttribute('dir', 'rtl');
  await look(page, 'ar-recovery');
  await page.goto(`${at.issuer}/recover?ui_locales=de`);
  await look(page, 'de-recovery');
  await page.goto(`${at.issuer}/not-me?ui_locales=ar`);
  await look(page, 'ar-not-me-dead');
});
