// A certified client written by others signs in: openid-client for Node, with forms posted by fetch in place of a browser.
import { expect, test } from '@playwright/test';
import * as client from 'openid-client';
import { Agent } from '../support/agent.js';
import { addresses, registerApplication } from '../support/cardea.js';

const redirectURI = 'http://127.0.0.1:9/callback'; // never fetched

test('openid-client: code with PKCE, nonce, userinfo, refresh, introspection, revocation', async () => {
  const at = addresses();
  const app = await registerApplication('openid-client test', redirectURI);
  const config = await client.discovery(new URL(at.issuer), app.clientId, app.clientSecret, undefined, {
    execute: [client.allowInsecureRequests], // cardea dev is http on loopback
  });
  expect(config.serverMetadata().issuer).toBe(at.issuer);
  expect(config.serverMetadata().code_challenge_methods_supported).toEqual(['S256']);

  const verifier = client.randomPKCECodeVerifier();
  const [state, nonce] = [client.randomState(), client.randomNonce()];
  const authorize = client.buildAuthorizationUrl(config, {
    redirect_uri: redirectURI,
    scope: 'openid profile email offline_access',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
  });

  const agent = new Agent([redirectURI]);
  let page = await agent.get(authorize.href);
  page = await agent.submit(page, 'identifier', { identifier: at.demoCustomer.identifier });
  page = await agent.submit(page, 'password', { password: at.demoCustomer.password });
  if (page.forms.some((f) => f.buttons.some((b) => b.name === 'decision'))) {
    page = await agent.submit(page, 'decision', { decision: 'allow' });
  }
  expect(page.url.startsWith(redirectURI), `reached ${page.url}:\n${page.text}`).toBe(true);
  const callback = new URL(page.url);
  expect(callback.searchParams.get('iss')).toBe(at.issuer);

  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true };
  const tokens = await client.authorizationCodeGrant(config, callback, checks);
  const claims = tokens.claims();
  expect(claims?.sub).toMatch(/^cus_/);
  expect(claims?.aud).toBe(app.clientId);

  const info = await client.fetchUserInfo(config, tokens.access_token, claims?.sub ?? '');
  expect(info.email).toBe(at.demoCustomer.identifier);

  expect((await client.tokenIntrospection(config, tokens.access_token)).active).toBe(true);

  const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token ?? '');
  expect(refreshed.access_token).not.toBe(tokens.access_token);
  expect(refreshed.refresh_token).not.toBe(tokens.refresh_token);
  await client.fetchUserInfo(config, refreshed.access_token, claims?.sub ?? '');

  await client.tokenRevocation(config, refreshed.refresh_token ?? '');
  expect((await client.tokenIntrospection(config, refreshed.access_token)).active).toBe(false);
  await expect(client.refreshTokenGrant(config, refreshed.refresh_token ?? '')).rejects.toMatchObject({ error: 'invalid_grant' });
  await expect(client.fetchUserInfo(config, refreshed.access_token, claims?.sub ?? '')).rejects.toThrow();

  const end = client.buildEndSessionUrl(config, { id_token_hint: tokens.id_token ?? '' });
  expect((await agent.get(end.href)).status).toBe(200);
});

test('openid-client: a code is good once', async () => {
  const at = addresses();
  const app = await registerApplication('openid-client replay', redirectURI);
  const config = await client.discovery(new URL(at.issuer), app.clientId, app.clientSecret, undefined, {
    execute: [client.allowInsecureRequests],
  });
  const verifier = client.randomPKCECodeVerifier();
  const authorize = client.buildAuthorizationUrl(config, {
    redirect_uri: redirectURI,
    scope: 'openid',
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  const agent = new Agent([redirectURI]);
  let page = await agent.get(authorize.href);
  page = await agent.submit(page, 'identifier', { identifier: at.demoCustomer.identifier });
  page = await agent.submit(page, 'password', { password: at.demoCustomer.password });
  if (page.forms.some((f) => f.buttons.some((b) => b.name === 'decision'))) {
    page = await agent.submit(page, 'decision', { decision: 'allow' });
  }
  const callback = new URL(page.url);
  const checks = { pkceCodeVerifier: verifier, idTokenExpected: true };
  const tokens = await client.authorizationCodeGrant(config, callback, checks);
  await expect(client.authorizationCodeGrant(config, callback, checks)).rejects.toMatchObject({ error: 'invalid_grant' });
  expect((await client.tokenIntrospection(config, tokens.access_token)).active, 'a replay kills the tokens').toBe(false);
});
