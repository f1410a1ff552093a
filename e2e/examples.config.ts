// Applications and proxies written by others, signing in to `cardea dev`: make examples.
import { defineConfig } from '@playwright/test';
import base from './playwright.config.js';

export default defineConfig({
  ...base,
  testDir: 'examples',
  fullyParallel: false, // each starts a program of its own: one after another is kinder to the machine, and quicker
  workers: Number(process.env['E2E_WORKERS'] ?? 2),
  timeout: 180_000,
  expect: { timeout: 20_000 },
  projects: [{ name: 'examples', use: { viewport: { width: 1280, height: 800 } } }],
});
