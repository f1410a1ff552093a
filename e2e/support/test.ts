// The test function of every browser test: fails where a page complains in the console, breaks its own policy or misses a file.
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import { expect, test as base, type Page } from '@playwright/test';
import { addresses, type Addresses } from './cardea.js';

export { expect };

export const test = base.extend<{ complaints: string[] }, { at: Addresses }>({
  // Where the program under test is.
  at: [async ({}, use) => use(addresses()), { scope: 'worker' }],
  complaints: [
    async ({ context }, use) => {
      const complaints: string[] = [];
      context.on('console', (message) => {
        // A document's own status is the test's to judge; a missing file is caught below.
        if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) complaints.push(message.text());
      });
      context.on('weberror', (error) => complaints.push(String(error.error())));
      context.on('response', (response) => {
        const request = response.request();
        if (response.status() >= 400 && !request.isNavigationRequest() && !request.url().endsWith('/favicon.ico')) {
          complaints.push(`${response.status()} ${request.url()}`);
        }
      });
      await use(complaints);
      expect(complaints, 'what the browser complained about').toEqual([]);
    },
    { auto: true },
  ],
});

const screenshots = resolve(import.meta.dirname, '../screenshots');

/** Looks at a page as a designer and as someone with other eyes, in the light and in the dark: screenshots, axe, one heading, no sideways scrolling, sizes. */
export async function look(page: Page, name: string): Promise<void> {
  const project = test.info().project;
  const scripts = project.use.javaScriptEnabled !== false;
  const screenshot = async (scheme: string) => {
    if (process.env['CI']) return; // nobody looks there
    const folder = join(screenshots, scripts ? `${project.name}-${scheme}` : project.name);
    mkdirSync(folder, { recursive: true });
    await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true, animations: 'disabled' });
  };
  await screenshot('light');

  expect(await page.locator('h1').count(), `${name}: headings of the first level`).toBe(1);
  await expect(page.locator('html')).toHaveAttribute('lang', /.+/);
  await expect(page).toHaveTitle(/.+/);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(wide, `${name} scrolls sideways`).toBeLessThanOrEqual(0);
  const small = await page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>('main button, main input:not([type=hidden]):not([type=checkbox]):not([type=radio])')]
      .filter((e) => e.ariaHidden !== 'true' && e.checkVisibility() && e.getBoundingClientRect().height < 43.5)
      .map((e) => e.outerHTML.slice(0, 120)),
  );
  expect(small, `${name}: targets lower than 44 px`).toEqual([]);

  // axe needs to run in the page: where scripts are off, the same markup was judged by the other projects.
  if (!scripts) return;
  await judge(new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']), name);

  // In the dark the markup is the same, and the colours are others.
  await page.emulateMedia({ colorScheme: 'dark', reducedMotion: 'reduce' });
  try {
    await screenshot('dark');
    await judge(new AxeBuilder({ page }).withRules(['color-contrast']), `${name} in the dark`);
  } finally {
    await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'no-preference' });
  }
}

async function judge(axe: AxeBuilder, name: string): Promise<void> {
  // Our pages have no frames: axe runs in the page itself. Otherwise it opens another page for each one to gather what frames found.
  const { violations } = await axe.setLegacyMode().analyze();
  expect(
    violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => `${n.target.join(' ')} ${n.failureSummary ?? ''}`).join('; ')}`),
    `axe on ${name}`,
  ).toEqual([]);
}
