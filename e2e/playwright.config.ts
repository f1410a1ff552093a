import { existsSync } from 'node:fs';
import { defineConfig } from '@playwright/test';

// The machine's own browser: CHROMIUM names it, otherwise it is looked for where Debian and macOS put it.
const places = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];
const executablePath = process.env['CHROMIUM'] ?? places.find(existsSync);
if (!executablePath) {
  throw new Error('No Chromium found: apt-get install chromium, or brew install --cask chromium, or set CHROMIUM to its path.');
}

const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const desktop = { viewport: { width: 1440, height: 900 } };
const inBrowser = /(newcomer|operator|organization|pages|phone|portal|recovery)\.spec\.ts/;

export default defineConfig({
  testDir: 'tests',
  outputDir: 'test-results',
  globalSetup: './support/setup.ts',
  fullyParallel: true,
  workers: Number(process.env['E2E_WORKERS'] ?? 3),
  forbidOnly: !!process.env['CI'],
  retries: 0, // a test that passes at the second try has found something
  timeout: 120_000, // the long way of a newcomer, looked at page by page, on two busy cores
  expect: { timeout: 10_000 },
  reporter: [['list']],
  use: {
    browserName: 'chromium',
    locale: 'en-GB',
    timezoneId: 'Europe/Lisbon',
    // To keep pictures and every state of the page of all that passes too takes longer than the tests.
    trace: { mode: 'retain-on-failure', screenshots: false, snapshots: !process.env['CI'] },
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    },
  },
  projects: [
    // Each page is looked at in the light and in the dark (support/test.ts).
    { name: 'phone', testMatch: inBrowser, use: { ...phone, colorScheme: 'light' } },
    { name: 'desktop', testMatch: inBrowser, use: { ...desktop, colorScheme: 'light' } },
    { name: 'no-javascript', testMatch: inBrowser, use: { ...phone, colorScheme: 'light', javaScriptEnabled: false } },
    { name: 'node', testMatch: /(admin-api|openid-client|start)\.spec\.ts/ },
  ],
});
