// What a customer does on the hosted pages. Fields and buttons are found by the names that are part of the product's contract
// (identifier, password, new_password, code; choose and decision), never by a look or a text that a brand may change.
import { expect, type Locator, type Page } from '@playwright/test';
import { addresses } from './cardea.js';
import { nextCode } from './inbox.js';

export const field = (page: Page, name: string): Locator => page.locator(`main input[name="${name}"]:not([type="hidden"])`);
export const choice = (page: Page, value: string): Locator => page.locator(`button[name="choose"][value="${value}"]`);
export const decision = (page: Page, value: 'allow' | 'deny' | 'sign_out' | 'stay'): Locator => page.locator(`button[name="decision"][value="${value}"]`);

/** A password that the demo tenant takes: long, and in no list. */
export const goodPassword = 'plum-lantern 7 quiet harbours';

/** Does something that leads to another page, and waits until that page is there: a form's answer has the same address. */
export async function turn(page: Page, act: () => Promise<unknown>): Promise<void> {
  const loaded = page.waitForEvent('domcontentloaded');
  await act();
  await loaded;
}

/** Presses one of the page's quiet alternatives. */
export const choose = (page: Page, value: string): Promise<void> => turn(page, () => choice(page, value).click());

/** Types into a field and sends its form as most people do, with the return key. */
export async function send(page: Page, name: string, value: string): Promise<void> {
  await field(page, name).fill(value);
  await turn(page, () => field(page, name).press('Enter'));
}

/** Types a code; with scripts the page may send itself at the last digit. */
export async function sendCode(page: Page, code: string): Promise<void> {
  await turn(page, async () => {
    const sent = page.waitForRequest((r) => r.isNavigationRequest() && r.method() === 'POST', { timeout: 1_000 }).then(
      () => true,
      () => false,
    );
    await field(page, 'code').fill(code);
    if (!(await sent)) await field(page, 'code').press('Enter');
  });
}

/** From the first hosted page to the page that asks for the mailed code. */
export async function beginSignUp(page: Page, address: string): Promise<void> {
  await field(page, 'identifier').fill(address);
  await choose(page, 'create');
  const code = field(page, 'code');
  await expect(code.or(field(page, 'identifier'))).toBeVisible();
  if (!(await code.isVisible())) await send(page, 'identifier', address); // a page of its own for the address
  await expect(code).toBeVisible();
}

/** The whole sign-up; without a password the page that asks for one is skipped. */
export async function signUp(page: Page, address: string, password?: string): Promise<void> {
  await beginSignUp(page, address);
  await sendCode(page, await nextCode(addresses().inboxJson, address));
  await expect(field(page, 'new_password')).toBeVisible();
  if (password === undefined) await choose(page, 'skip');
  else await send(page, 'new_password', password);
}

/** From the first hosted page through the password. */
export async function signIn(page: Page, identifier: string, password: string): Promise<void> {
  await send(page, 'identifier', identifier);
  await expect(field(page, 'password')).toBeVisible();
  await send(page, 'password', password);
}

/** Greeted by an application: signed in and back on its own pages. */
export async function expectGreeted(page: Page, application: string, name: string): Promise<void> {
  await expect(page.locator('#greeting, h1').first()).toContainText(name);
  expect(new URL(page.url()).origin).toBe(new URL(application).origin);
}
