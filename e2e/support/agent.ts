// A customer without a browser: keeps cookies, follows redirects, reads forms and posts them with all their hidden fields.
// Enough HTML for our own pages, which are regular by construction.

export interface Form {
  action: string;
  method: string;
  fields: Record<string, string>;
  names: string[];
  buttons: { name: string; value: string }[];
}

export interface Reached {
  url: string;
  status: number;
  text: string;
  forms: Form[];
}

export class Agent {
  readonly #cookies = new Map<string, string>();

  /** Addresses that begin so are given back as reached instead of being fetched: another application's callback. */
  constructor(private readonly stopAt: string[] = []) {}

  get(url: string): Promise<Reached> {
    return this.#follow(url, { method: 'GET' });
  }

  /** Posts the form that has this field or button, with what it holds, `values` over it. */
  submit(page: Reached, has: string, values: Record<string, string>): Promise<Reached> {
    const form = page.forms.find((f) => f.names.includes(has) || f.buttons.some((b) => b.name === has || b.value === has));
    if (!form) throw new Error(`no form with ${has} at ${page.url} (${page.status}):\n${page.text}`);
    const body = new URLSearchParams({ ...form.fields, ...values });
    return this.#follow(form.action, {
      method: 'POST',
      body: body.toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
  }

  async #follow(url: string, first: { method: string; body?: string; headers?: Record<string, string> }): Promise<Reached> {
    let request = first;
    for (let hops = 0; hops < 15; hops++) {
      if (this.stopAt.some((prefix) => url.startsWith(prefix))) return { url, status: 0, text: '', forms: [] };
      const host = new URL(url).hostname;
      const response = await fetch(url, {
        ...request,
        redirect: 'manual',
        headers: { accept: 'text/html', 'accept-language': 'en', ...request.headers, cookie: this.#cookieHeader(host) },
      });
      for (const line of response.headers.getSetCookie()) this.#keep(host, line);
      const location = response.headers.get('location');
      const text = await response.text();
      if (location === null || response.status < 300 || response.status > 399) {
        return { url, status: response.status, text, forms: forms(text, url) };
      }
      url = new URL(location, url).href;
      if (response.status !== 307 && response.status !== 308) request = { method: 'GET' };
    }
    throw new Error(`too many redirects, last to ${url}`);
  }

  #keep(host: string, line: string): void {
    const [pair = '', ...attributes] = line.split(';').map((part) => part.trim());
    const at = pair.indexOf('=');
    const key = `${host} ${pair.slice(0, at)}`;
    const gone = attributes.some((a) => /^max-age=(0|-\d+)$/i.test(a) || /^expires=.*1970/i.test(a));
    if (gone) this.#cookies.delete(key);
    else this.#cookies.set(key, pair.slice(at + 1));
  }

  #cookieHeader(host: string): string {
    return [...this.#cookies]
      .filter(([key]) => key.startsWith(`${host} `))
      .map(([key, value]) => `${key.slice(host.length + 1)}=${value}`)
      .join('; ');
  }
}

function forms(html: string, base: string): Form[] {
  return [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, head = '', body = '']) => {
    const form: Form = {
      action: new URL(attribute(head, 'action') || base, base).href,
      method: attribute(head, 'method').toUpperCase() || 'GET',
      fields: {},
      names: [],
      buttons: [],
    };
    for (const [, inside = ''] of body.matchAll(/<input\b([^>]*)>/gi)) {
      const name = attribute(inside, 'name');
      const type = attribute(inside, 'type').toLowerCase();
      if (!name || type === 'submit') continue;
      form.names.push(name);
      if (['checkbox', 'radio'].includes(type) && !/\schecked(\s|=|$)/i.test(inside)) continue;
      form.fields[name] = attribute(inside, 'value');
    }
    for (const [, inside = ''] of body.matchAll(/<button\b([^>]*)>/gi)) {
      form.buttons.push({ name: attribute(inside, 'name'), value: attribute(inside, 'value') });
    }
    return form;
  });
}

function attribute(tag: string, name: string): string {
  const found = new RegExp(`\\s${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s>]+))`, 'i').exec(` ${tag}`);
  return unescape(found?.[1] ?? found?.[2] ?? found?.[3] ?? '');
}

function unescape(text: string): string {
  return text
    .replace(/&#(\d+);/g, (_, n) => String.fromCodePoint(Number(n)))
    .replace(/&#x([0-9a-f]+);/gi, (_, n) => String.fromCodePoint(parseInt(n, 16)))
    .replaceAll('&quot;', '"')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');
}
