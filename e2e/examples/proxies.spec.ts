// Proxies written by others, in front of an application that knows nothing of signing in: oauth2-proxy, and Apache with
// mod_auth_openidc. Neither is changed, and both have their usual settings.
import { createServer, type Server } from 'node:http';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { randomBytes } from 'node:crypto';
import { expect, test, type Page } from '@playwright/test';
import { addresses, freePorts } from '../support/cardea.js';
import { decision, field, signIn } from '../support/customer.js';
import { createApp, start, which } from '../support/program.js';

/** An application that says what its proxy tells it of the customer. */
async function upstream(port: number): Promise<Server> {
  const server = createServer((request, response) => {
    const { headers } = request;
    response.setHeader('content-type', 'text/html');
    response.end(`<h1>${headers['x-forwarded-email'] ?? headers['oidc_claim_email']}</h1><p>${headers['x-forwarded-user'] ?? headers['oidc_claim_sub']}</p>`);
  });
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  return server;
}

const oauth2Proxy = process.env['OAUTH2_PROXY'] ?? resolve(import.meta.dirname, '../../bin/oauth2-proxy');

async function signsIn(page: Page, url: string): Promise<void> {
  const { demoCustomer } = addresses();
  await page.goto(url);
  await expect(field(page, 'identifier')).toBeVisible();
  await signIn(page, demoCustomer.identifier, demoCustomer.password);
  await expect(page.locator('h1')).toHaveText(demoCustomer.identifier);
  await expect(page.locator('p')).toHaveText(/^cus_/);
  expect(page.url()).toBe(url); // where the customer wanted to go
}

// oauth2-proxy does not send PKCE unless told to. An application that is registered as usual is refused without it; one of which the
// operator said that it may do without is not.
for (const pkce of [true, false]) test(`oauth2-proxy signs in unmodified, ${pkce ? 'with PKCE' : 'with its defaults'}`, { tag: '@full' }, async ({ page, context }) => {
  test.skip(!existsSync(oauth2Proxy), 'oauth2-proxy: it could not be had');
  const { issuer } = addresses();
  const port = await freePorts();
  const origin = `http://localhost:${port}`;
  const env = await createApp('oauth2-proxy', 'web', `${origin}/oauth2/callback`, `${origin}/`, ...(pkce ? [] : ['--pkce-optional']));
  const application = await upstream(port + 1);
  const program = await start(
    [
      oauth2Proxy,
      '--provider=oidc',
      `--oidc-issuer-url=${issuer}`,
      `--redirect-url=${env['OIDC_REDIRECT_URI']}`,
      `--http-address=127.0.0.1:${port}`,
      `--upstream=http://127.0.0.1:${port + 1}/`,
      '--scope=openid email profile offline_access',
      ...(pkce ? ['--code-challenge-method=S256'] : []),
      '--email-domain=*',
      '--cookie-secure=false',
      '--cookie-refresh=3s',
      '--skip-provider-button=true',
      `--whitelist-domain=${new URL(issuer).host}`,
    ],
    tmpdir(),
    {
      OAUTH2_PROXY_CLIENT_ID: env.OIDC_CLIENT_ID,
      OAUTH2_PROXY_CLIENT_SECRET: env['OIDC_CLIENT_SECRET'] ?? '',
      OAUTH2_PROXY_COOKIE_SECRET: randomBytes(16).toString('hex'),
    },
    `http://127.0.0.1:${port}/ping`,
  );
  try {
    await signsIn(page, `${origin}/orders?page=2`);

    // The session is refreshed, by several requests at once, with one refresh token; and again with the next.
    for (let turn = 0; turn < 2; turn++) {
      const cookie = async () => (await context.cookies(origin)).find((c) => c.name === '_oauth2_proxy')?.value;
      const before = await cookie();
      await expect(async () => {
        const statuses = await page.evaluate(() => Promise.all(Array.from({ length: 5 }, () => fetch('/').then((r) => `${r.status} ${r.redirected}`))));
        expect(statuses).toEqual(Array(5).fill('200 false'));
        expect((await cookie()) === before, 'the session is not refreshed').toBe(false);
      }).toPass({ intervals: [3_500], timeout: 30_000 });
    }
    // It goes on with the old tokens where a refresh is refused: then it says so.
    expect(program.printed()).toContain('Refreshing session');
    expect(program.printed()).not.toMatch(/invalid_grant|unable to refresh|error refreshing/i);

    const end = `${issuer}/end_session?client_id=${env.OIDC_CLIENT_ID}&post_logout_redirect_uri=${encodeURIComponent(`${origin}/`)}`;
    await page.goto(`${origin}/oauth2/sign_out?rd=${encodeURIComponent(end)}`);
    await decision(page, 'sign_out').click();
    await expect(field(page, 'identifier'), 'back at the proxy, which asks for a sign-in').toBeVisible();
  } catch (err) {
    throw new Error(`${String(err)}\n\nAt ${page.url()}; oauth2-proxy said:\n${program.printed().slice(-3000)}`, { cause: err });
  } finally {
    await program.stop();
    application.close();
  }
});

test('Apache mod_auth_openidc signs in unmodified', { tag: '@full' }, async ({ page }) => {
  const modules = ['/usr/lib/apache2/modules', '/usr/lib64/httpd/modules'].find((m) => existsSync(join(m, 'mod_auth_openidc.so')));
  const apache = which('apache2') ?? which('httpd');
  test.skip(!apache || !modules, 'mod_auth_openidc: apt-get install apache2 libapache2-mod-auth-openidc');
  const { issuer } = addresses();
  const port = await freePorts();
  const origin = `http://localhost:${port}`;
  const env = await createApp('Apache', 'web', `${origin}/oidc/callback`, `${origin}/`);
  const application = await upstream(port + 1);
  const folder = mkdtempSync(join(tmpdir(), 'cardea-apache-'));
  const log = join(folder, 'log');
  const wanted = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'proxy', 'proxy_http', 'headers', 'unixd', 'auth_openidc'];
  const load = wanted.filter((m) => existsSync(join(modules ?? '', `mod_${m}.so`))).map((m) => `LoadModule ${m}_module ${modules}/mod_${m}.so`);
  writeFileSync(
    join(folder, 'apache.conf'),
    `${load.join('\n')}
ServerRoot "${folder}"
ServerName localhost
PidFile "${folder}/pid"
DefaultRuntimeDir "${folder}"
Listen 127.0.0.1:${port}
ErrorLog "${folder}/log"
LogLevel info
${process.getuid?.() === 0 ? 'User www-data\nGroup www-data' : ''}

OIDCProviderMetadataURL ${issuer}/.well-known/openid-configuration
OIDCClientID ${env.OIDC_CLIENT_ID}
OIDCClientSecret ${env['OIDC_CLIENT_SECRET']}
OIDCRedirectURI ${env['OIDC_REDIRECT_URI']}
OIDCCryptoPassphrase ${env['SESSION_SECRET']}
OIDCScope "openid email profile"
OIDCPKCEMethod S256

<Location />
  AuthType openid-connect
  Require valid-user
</Location>
ProxyPass /oidc/ !
ProxyPass / http://127.0.0.1:${port + 1}/
`,
  );
  let program;
  try {
    program = await start([apache ?? '', '-D', 'FOREGROUND', '-f', join(folder, 'apache.conf')], folder, {}, `http://127.0.0.1:${port}/`);
    await signsIn(page, `${origin}/orders?page=2`);
    await page.reload();
    await expect(page.locator('h1')).toHaveText(addresses().demoCustomer.identifier);

    await page.goto(`${origin}/oidc/callback?logout=${encodeURIComponent(`${origin}/`)}`);
    await decision(page, 'sign_out').click();
    await expect(field(page, 'identifier'), 'back at Apache, which asks for a sign-in').toBeVisible();
  } catch (err) {
    throw new Error(`${String(err)}\n\nAt ${page.url()}; Apache said:\n${existsSync(log) ? readFileSync(log, 'utf8').slice(-3000) : ''}`, { cause: err });
  } finally {
    await program?.stop();
    application.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
