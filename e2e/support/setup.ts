import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts, startDev } from './cardea.js';

// One program for the whole run. CARDEA_E2E_ADDRESSES (and CARDEA_E2E_DATA for its data folder) name one that runs already.
export default async function setup(): Promise<() => Promise<void>> {
  if (process.env['CARDEA_E2E_ADDRESSES']) return async () => {};
  const data = mkdtempSync(join(tmpdir(), 'cardea-e2e-'));
  const running = await startDev(data, await freePorts(), '--fresh');
  const file = join(data, 'addresses.json');
  writeFileSync(file, JSON.stringify(running.addresses));
  process.env['CARDEA_E2E_ADDRESSES'] = file;
  process.env['CARDEA_E2E_DATA'] = data;
  return async () => {
    const code = await running.stop();
    if (process.env['CARDEA_E2E_LOG']) writeFileSync(process.env['CARDEA_E2E_LOG'], running.printed());
    rmSync(data, { recursive: true, force: true });
    if (code !== 0) throw new Error(`cardea dev ended with ${code}:\n${running.printed().slice(-4000)}`);
  };
}
