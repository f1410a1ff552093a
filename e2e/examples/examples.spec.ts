// The applications of examples/, as they are, with their usual libraries: each is registered, started, signed in to, refreshed where it
// can be, and signed out of.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from '@playwright/test';
import { addresses, freePorts } from '../support/cardea.js';
import { decision, field, signIn } from '../support/customer.js';
import { createApp, start, which } from '../support/program.js';

const folder = resolve(import.meta.dirname, '../../examples');

interface Example {
  name: string;
  library: string;
  kind?: 'spa';
  callback?: string;
  command: (port: number) => string[];
  env?: (port: number) => Record<string, string>;
  needs?: string[]; // programs
  built: string; // what make has made of it
  refreshes?: false;
  full?: true; // takes long: not in the short run
}

const bin = (name: string, ...path: string[]) => join(folder, name, 'node_modules/.bin', ...path);

const examples: Example[] = [
  { name: 'spa', library: 'oidc-client-ts', kind: 'spa', command: () => [bin('spa', 'vite'), '--host', '127.0.0.1'], built: 'node_modules' },
  { name: 'express', library: 'openid-client', command: () => ['node', 'app.js'], built: 'node_modules' },
  { name: 'go', library: 'go-oidc', command: () => [resolve(folder, '../bin/example-go')], built: '../../bin/example-go' },
  { name: 'python', library: 'Authlib', command: () => ['.venv/bin/python', 'app.py'], built: '.venv' },
  {
    name: 'nextjs',
    library: 'next-auth',
    callback: '/api/auth/callback/cardea',
    command: (port) => [bin('nextjs', 'next'), 'start', '--port', String(port)],
    env: (port) => ({ NEXTAUTH_URL: `http://localhost:${port}`, NEXT_TELEMETRY_DISABLED: '1' }),
    built: '.next/BUILD_ID',
    refreshes: false,
    full: true,
  },
  {
    name: 'java',
    library: 'Spring Security',
    command: () => ['java', '-jar', 'target/cardea-java.jar'],
    env: (port) => ({ SERVER_PORT: String(port) }),
    needs: ['java'],
    built: 'target/cardea-java.jar',
    refreshes: false,
    full: true,
  },
];

for (const example of examples) {
  test(`${example.name} with ${example.library} signs in unmodified`, { tag: example.full ? ['@full'] : [] }, async ({ page }) => {
    for (const program of example.needs ?? []) test.skip(!which(program), `${example.library}: ${program} is not on this machine`);
    test.skip(!existsSync(join(folder, example.name, example.built)), `${example.library}: make has not built it, see its output`);
    const at = addresses();
    const port = await freePorts();
    const origin = `http://localhost:${port}`;
    const env = await createApp(`Example ${example.name}`, example.kind ?? 'web', `${origin}${example.callback ?? '/callback'}`, `${origin}/`);
    if (example.kind === 'spa') expect(env['OIDC_CLIENT_SECRET'], 'a page keeps no secret').toBeUndefined();
    const program = await start(example.command(port), join(folder, example.name), { ...env, ...example.env?.(port) }, `http://127.0.0.1:${port}/`);
    try {
      await page.goto(origin);
      await expect(page.locator('h1')).toHaveText('Hello stranger');
      await page.getByText('Sign in', { exact: true }).click();
      await expect(field(page, 'identifier')).toBeVisible();
      await signIn(page, at.demoCustomer.identifier, at.demoCustomer.password);
      await expect(page.locator('h1')).toHaveText(/^Hello Ana/);
      expect(new URL(page.url()).origin).toBe(origin);

      if (example.refreshes !== false) {
        for (let turn = 0; turn < 2; turn++) { // the second needs what the first was answered
          await page.getByRole('button', { name: 'Refresh' }).click();
          if (example.kind === 'spa') await expect(page.locator('h1[data-refreshed]')).toBeVisible();
          await page.waitForLoadState('networkidle');
          await expect(page.locator('h1')).toHaveText(/^Hello Ana/);
          if (example.kind === 'spa') await expect(page.locator('#problem')).toBeEmpty();
        }
      }

      await page.getByRole('button', { name: 'Sign out' }).click();
      await decision(page, 'sign_out').click();
      await page.waitForURL(`${origin}/**`);
      await expect(page.locator('h1')).toHaveText('Hello stranger');
      await page.getByText('Sign in', { exact: true }).click();
      await expect(field(page, 'identifier'), 'signed out at Cardea too').toBeVisible();
    } catch (err) {
      throw new Error(`${String(err)}\n\nAt ${page.url()}; the program said:\n${program.printed().slice(-3000)}`, { cause: err });
    } finally {
      await program.stop();
    }
  });
}
