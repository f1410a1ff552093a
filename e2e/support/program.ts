// Programs that are not ours: started with an environment, waited for, stopped with whatever they started.
import { spawn, spawnSync } from 'node:child_process';
import { parseEnv, promisify } from 'node:util';
import { execFile } from 'node:child_process';
import { binary, sleep } from './cardea.js';

export interface Program {
  printed: () => string;
  stop: () => Promise<void>;
}

/** Starts a program and waits until `url` answers, whatever it answers. */
export async function start(command: string[], folder: string, env: Record<string, string>, url: string, within = 90_000): Promise<Program> {
  const [name = '', ...args] = command;
  // A group of its own, so that its children end with it.
  const child = spawn(name, args, { cwd: folder, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let out = '';
  let failed: Error | undefined;
  child.stdout.on('data', (chunk) => (out += chunk));
  child.stderr.on('data', (chunk) => (out += chunk));
  child.on('error', (err) => (failed = err));
  const ended = new Promise<void>((done) => child.once('exit', () => done()));
  const kill = (signal: NodeJS.Signals) => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    } catch {
      // it has ended already
    }
  };
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null || failed) return;
    kill('SIGTERM');
    if ((await Promise.race([ended.then(() => 'ended'), sleep(5_000).then(() => 'late')])) === 'late') kill('SIGKILL');
  };
  for (const end = Date.now() + within; ; await sleep(100)) {
    if (failed) throw failed;
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${command.join(' ')} ended:\n${out.slice(-4000)}`);
    try {
      await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(30_000) });
      return { printed: () => out, stop };
    } catch {
      if (Date.now() > end) {
        await stop();
        throw new Error(`${command.join(' ')} does not answer at ${url}:\n${out.slice(-4000)}`);
      }
    }
  }
}

/** Where a program is on this machine; undefined for one that is not there. */
export function which(name: string): string | undefined {
  const found = spawnSync('sh', ['-c', `PATH="$PATH:/usr/sbin" command -v ${name}`], { encoding: 'utf8' });
  return found.status === 0 ? found.stdout.trim() : undefined;
}

export interface Env extends Record<string, string> {
  OIDC_ISSUER: string;
  OIDC_CLIENT_ID: string;
}

/** Registers an application as the examples' README says and gives its .env. */
export async function createApp(name: string, kind: 'web' | 'spa', redirectURI: string, postLogoutURI: string, ...more: string[]): Promise<Env> {
  const { stdout } = await promisify(execFile)(binary, [
    ...['app', 'create', '--data', process.env['CARDEA_E2E_DATA'] ?? '', '--tenant', 'olive-thyme', '--name', name, '--kind', kind, '--first-party'],
    ...['--redirect-uri', redirectURI, '--post-logout-redirect-uri', postLogoutURI, '--env', ...more],
  ]);
  return parseEnv(stdout) as Env;
}
