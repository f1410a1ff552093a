// The program under test: starts `cardea dev`, reads where it listens, stops it as Ctrl-C would.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

export const binary = process.env['CARDEA_BIN'] ?? resolve(import.meta.dirname, '../../bin/cardea');

/** What reports of mail that came back are authenticated with. */
export const hookSecret = 'a mail relay that the browser tests play';

/** What `cardea dev --addresses-file` writes once everything answers. */
export interface Addresses {
  issuer: string;
  shop: string;
  club: string;
  recipes: string;
  account: string;
  inbox: string;
  inboxJson: string;
  system: string;
  adminApi: string;
  adminToken: string;
  demoCustomer: { identifier: string; password: string };
}

export interface Running {
  addresses: Addresses;
  data: string;
  printed: () => string;
  /** Interrupts and gives the exit code; kills and throws where that takes more than ten seconds. */
  stop: () => Promise<number | null>;
}

const portsInARow = 10;

/** The first of ten free ports in a row. */
export async function freePorts(): Promise<number> {
  for (let tries = 0; tries < 50; tries++) {
    const base = 20_000 + Math.floor(Math.random() * 12_000); // below the ports that systems hand out themselves
    const free = await Promise.all(Array.from({ length: portsInARow }, (_, i) => isFree(base + i)));
    if (free.every(Boolean)) return base;
  }
  throw new Error('no ten free ports in a row');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', () => done(false));
    server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
  });
}

export async function startDev(data: string, portBase: number, ...more: string[]): Promise<Running> {
  if (!existsSync(binary)) throw new Error(`${binary} is missing: make build`);
  const file = join(data, `addresses-${portBase}-${Date.now()}.json`);
  const args = ['dev', '--data', data, '--port-base', String(portBase), '--addresses-file', file, ...more];
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, CARDEA_MAIL_HOOK_SECRET: hookSecret } });
  let out = '';
  child.stdout.on('data', (chunk) => (out += chunk));
  child.stderr.on('data', (chunk) => (out += chunk));
  const addresses = await written(child, file, () => out);
  return { addresses, data, printed: () => out, stop: () => stop(child) };
}

async function written(child: ChildProcess, file: string, out: () => string): Promise<Addresses> {
  for (const end = Date.now() + 30_000; Date.now() < end; await sleep(50)) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`cardea dev ended:\n${out()}`);
    if (!existsSync(file)) continue;
    try {
      return JSON.parse(readFileSync(file, 'utf8')) as Addresses;
    } catch {
      continue; // still being written
    }
  }
  child.kill('SIGKILL');
  throw new Error(`cardea dev wrote no addresses within 30 s:\n${out()}`);
}

async function stop(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode;
  const ended = new Promise<number | null>((done) => child.once('exit', (code) => done(code)));
  child.kill('SIGINT');
  const late = sleep(10_000).then(() => 'late' as const);
  const code = await Promise.race([ended, late]);
  if (code === 'late') {
    child.kill('SIGKILL');
    throw new Error('cardea dev did not stop within 10 s of an interrupt');
  }
  return code;
}

/** The addresses of the program that global setup started. */
export function addresses(): Addresses {
  const file = process.env['CARDEA_E2E_ADDRESSES'];
  if (!file) throw new Error('global setup has not run');
  return JSON.parse(readFileSync(file, 'utf8')) as Addresses;
}

/** Runs a command against the running program, over the socket in its data folder. */
export async function command(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(binary, [...args, '--data', process.env['CARDEA_E2E_DATA'] ?? '']);
  return stdout;
}

export interface Registered {
  clientId: string;
  clientSecret: string;
}

/** Registers a confidential third-party application, as an operator does. */
export async function registerApplication(name: string, redirectURI: string): Promise<Registered> {
  const made = JSON.parse(
    await command('application', 'create', '--tenant', 'olive-thyme', '--name', name, '--kind', 'web', '--auth-method', 'client_secret_post', '--redirect-uri', redirectURI, '--json'),
  ) as { client_id: string; client_secret: string };
  return { clientId: made.client_id, clientSecret: made.client_secret };
}

export const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));
