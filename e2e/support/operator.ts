// Operators, made as docs/operators.md says.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { binary } from './cardea.js';

const cardea = async (...args: string[]): Promise<string> =>
  (await promisify(execFile)(binary, [...args, '--data', process.env['CARDEA_E2E_DATA'] ?? ''])).stdout;

/** A one-time link that makes an operator: of whoever opens it, or of the account with an address. */
export async function breakGlass(...address: string[]): Promise<string> {
  const printed = await cardea('operator', 'break-glass', ...address);
  const link = /https?:\/\/\S+\/operator\?link=\S+/.exec(printed)?.[0];
  if (!link) throw new Error(`no link: ${printed}`);
  return link;
}

/** Makes an operator who holds everything, and has no password yet. */
export const createOperator = (address: string): Promise<string> => cardea('operator', 'create', address, '--all-tenants');

/** Who the operators are, by name. */
export async function operators(): Promise<string[]> {
  const all = JSON.parse(await cardea('operator', 'list', '--json')) as { name?: string }[];
  return all.map((o) => o.name ?? '');
}
