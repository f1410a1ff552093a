import { sleep } from './cardea.js';

/** One message of /dev/inbox.json. */
export interface Message {
  kind: 'mail' | 'sms';
  to: string | string[];
  subject: string;
  text: string;
  links: string[];
  code: string;
}

/** An address that nobody has used before. */
export function newAddress(name: string): string {
  return `${name}.${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}@example.com`;
}

/** A mobile number of the demo's country that nobody has used before, in E.164. */
export function newNumber(): string {
  return `+4474${String(Date.now() % 10_000).padStart(4, '0')}${String(Math.floor(Math.random() * 10_000)).padStart(4, '0')}`;
}

export async function messages(inboxJson: string, address: string): Promise<Message[]> {
  const answer = await fetch(inboxJson);
  if (!answer.ok) throw new Error(`${inboxJson} answered ${answer.status}`);
  const body = (await answer.json()) as Message[] | { messages: Message[] };
  const all = Array.isArray(body) ? body : body.messages;
  return all.filter((m) => [m.to].flat().some((to) => to.toLowerCase().includes(address.toLowerCase())));
}

/** Waits for a code to this address that is not one of `before`. */
export async function nextCode(inboxJson: string, address: string, before: string[] = []): Promise<string> {
  for (const end = Date.now() + 10_000; Date.now() < end; await sleep(100)) {
    const fresh = (await messages(inboxJson, address)).find((m) => m.code && !before.includes(m.code));
    if (fresh) return fresh.code;
  }
  throw new Error(`no code came for ${address}`);
}
