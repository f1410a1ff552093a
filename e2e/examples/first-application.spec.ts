// docs/first-application.md, command by command: from git clone to an Express application of one's own that a new customer is signed in
// to, in under five minutes. Cloned is what is committed here; ports are other ones, since the page's may be taken.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from '@playwright/test';
import { freePorts } from '../support/cardea.js';
import { beginSignUp, choose, decision, field, sendCode } from '../support/customer.js';
import { newAddress, nextCode } from '../support/inbox.js';
import { start, type Program } from '../support/program.js';

const root = resolve(import.meta.dirname, '../..');
const limit = 5 * 60_000;

test('from git clone to an own Express application, in under five minutes', async ({ page }) => {
  test.setTimeout(limit + 60_000);
  const [dev, own] = [await freePorts(), await freePorts()];
  const text = readFileSync(join(root, 'docs/first-application.md'), 'utf8')
    .replaceAll('localhost:7070', `localhost:${dev}`)
    .replaceAll('localhost:3000', `localhost:${own}`);
  const blocks = [...text.matchAll(/^```(sh|js)\n(.*?)^```$/gms)].map(([, language, body = '']) => ({ language, body }));
  expect(blocks.map((b) => b.language)).toEqual(['sh', 'sh', 'sh', 'js', 'sh']);

  const began = Date.now();
  const folder = mkdtempSync(join(tmpdir(), 'cardea-first-'));
  let here = folder;
  const running: Program[] = [];
  try {
    for (const { language, body } of blocks) {
      if (language === 'js') {
        writeFileSync(join(here, 'app.js'), body);
        continue;
      }
      for (const line of body.trim().split('\n')) {
        const command = line.replace('https://github.com/cardea-id/cardea', `'${root}' cardea`);
        if (command.startsWith('cd ')) {
          here = resolve(here, command.slice(3));
        } else if (command === 'bin/cardea dev') {
          running.push(await start(['bin/cardea', 'dev', '--port-base', String(dev)], here, {}, `http://localhost:${dev}/dev/inbox`));
        } else if (command.startsWith('node ')) {
          running.push(await start(command.split(' '), here, {}, `http://localhost:${own}/`));
        } else {
          // The clone may belong to somebody else than who runs this: git would refuse to read it.
          const env = { ...process.env, GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'safe.directory', GIT_CONFIG_VALUE_0: '*' };
          execFileSync('sh', ['-ec', command], { cwd: here, env, stdio: ['ignore', 'pipe', 'inherit'] });
        }
      }
    }
    const address = newAddress('first');
    await page.goto(`http://localhost:${own}`);
    await page.getByText('Sign in').click();
    await beginSignUp(page, address);
    await sendCode(page, await nextCode(`http://localhost:${dev}/dev/inbox.json`, address));
    await choose(page, 'skip'); // no password: a code by mail will do
    await expect(page.locator('h1')).toHaveText(`Hello ${address}`);
    expect(Date.now() - began, 'milliseconds').toBeLessThan(limit);
    test.info().annotations.push({ type: 'took', description: `${Math.round((Date.now() - began) / 1000)} s` });

    await page.getByRole('button', { name: 'Sign out' }).click();
    await decision(page, 'sign_out').click();
    await expect(page.locator('h1')).toHaveText('Hello stranger');
    await page.getByText('Sign in').click();
    await expect(field(page, 'identifier')).toBeVisible();
  } catch (err) {
    throw new Error(`${String(err)}\n\nAt ${page.url()}; the programs said:\n${running.map((r) => r.printed().slice(-2000)).join('\n')}`, { cause: err });
  } finally {
    for (const program of running.reverse()) await program.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
