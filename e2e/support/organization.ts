// Organizations, as an operator makes them: by the commands.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { binary, sleep } from './cardea.js';
import { messages } from './inbox.js';

const tenant = 'olive-thyme';

async function organization(...args: string[]): Promise<void> {
  const [verb = '', ...rest] = args;
  await promisify(execFile)(binary, ['organization', ...verb.split(' '), '--data', process.env['CARDEA_E2E_DATA'] ?? '', '--tenant', tenant, ...rest]);
}

/** Makes an organization with a slug that nobody has used before, which it returns. */
export async function createOrganization(name: string): Promise<string> {
  const slug = `${name.toLowerCase().replace(/[^a-z0-9]+/g, '-')}-${Date.now().toString(36)}${Math.random().toString(36).slice(2, 6)}`.slice(-40).replace(/^-+/, '');
  await organization('create', '--slug', slug, '--name', name);
  return slug;
}

export const setMember = (slug: string, address: string, role: string): Promise<void> => organization('member set', '--role', role, slug, address);

/** Invites an address and returns the link of the newest letter. */
export async function invite(inboxJson: string, slug: string, address: string, role: string, ...more: string[]): Promise<string> {
  const links = async () => (await messages(inboxJson, address)).flatMap((m) => m.links).filter((l) => l.includes('/join?link='));
  const before = await links();
  await organization('invite', '--role', role, ...more, slug, address);
  for (const end = Date.now() + 10_000; Date.now() < end; await sleep(100)) {
    const fresh = (await links()).find((l) => !before.includes(l));
    if (fresh) return fresh;
  }
  throw new Error(`no invitation came for ${address}`);
}
