// An Express application that signs customers in with openid-client.
import express from 'express';
import session from 'express-session';
import * as oidc from 'openid-client';

const env = process.env;
const redirectUri = new URL(env.OIDC_REDIRECT_URI);
const issuer = new URL(env.OIDC_ISSUER);
const local = ['localhost', '127.0.0.1'].includes(issuer.hostname);

// Only on this machine may the issuer be http.
const config = await oidc.discovery(issuer, env.OIDC_CLIENT_ID, env.OIDC_CLIENT_SECRET, oidc.ClientSecretBasic(env.OIDC_CLIENT_SECRET), {
  execute: local ? [oidc.allowInsecureRequests] : [],
});

const app = express();
app.set('trust proxy', 1); // the proxy that ends TLS
app.use(session({
  name: 'express.sid',
  secret: env.SESSION_SECRET,
  resave: false,
  saveUninitialized: false,
  cookie: { httpOnly: true, sameSite: 'lax', secure: redirectUri.protocol === 'https:' },
}));

app.get('/', (req, res) => {
  const { user } = req.session;
  res.send(user
    ? page(`<h1>Hello ${escape(user.name ?? user.email ?? user.sub)}</h1>
        <form method="post" action="/refresh"><button>Refresh</button></form>
        <form method="post" action="/signout"><button>Sign out</button></form>`)
    : page('<h1>Hello stranger</h1><p><a href="/signin">Sign in</a></p>'));
});

app.get('/signin', async (req, res) => {
  const verifier = oidc.randomPKCECodeVerifier();
  const attempt = { verifier, state: oidc.randomState(), nonce: oidc.randomNonce() };
  req.session.attempt = attempt;
  res.redirect(oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri.href,
    scope: env.OIDC_SCOPE,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state: attempt.state,
    nonce: attempt.nonce,
  }).href);
});

app.get(redirectUri.pathname, async (req, res) => {
  const { attempt } = req.session;
  if (!attempt) return res.redirect('/');
  delete req.session.attempt;
  const answer = new URL(req.originalUrl, redirectUri);
  const tokens = await oidc.authorizationCodeGrant(config, answer, {
    pkceCodeVerifier: attempt.verifier, expectedState: attempt.state, expectedNonce: attempt.nonce,
  });
  // ID tokens are lean: who the customer is tells userinfo.
  const user = await oidc.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
  await new Promise((done, failed) => req.session.regenerate((err) => (err ? failed(err) : done()))); // against session fixation
  Object.assign(req.session, { user, idToken: tokens.id_token, refreshToken: tokens.refresh_token });
  res.redirect('/');
});

app.post('/refresh', async (req, res) => {
  const { refreshToken, user } = req.session;
  if (!refreshToken) return res.redirect('/signin');
  try {
    const tokens = await oidc.refreshTokenGrant(config, refreshToken); // a refresh token is good once: keep the next
    req.session.refreshToken = tokens.refresh_token;
    req.session.user = await oidc.fetchUserInfo(config, tokens.access_token, user.sub);
  } catch (err) {
    if (err.error !== 'invalid_grant') throw err;
    delete req.session.user; // signed out elsewhere
    delete req.session.refreshToken;
  }
  res.redirect('/');
});

app.post('/signout', (req, res, next) => {
  const { idToken } = req.session;
  req.session.destroy((err) => {
    if (err) return next(err);
    if (!idToken) return res.redirect('/');
    res.redirect(oidc.buildEndSessionUrl(config, { id_token_hint: idToken, post_logout_redirect_uri: env.OIDC_POST_LOGOUT_REDIRECT_URI }).href);
  });
});

app.use((err, _req, res, _next) => {
  console.error(err);
  res.status(400).send(page('<h1>That did not work</h1><p><a href="/signin">Try again</a></p>'));
});

const page = (body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>Express</title><body>${body}</body></html>`;
const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

app.listen(Number(redirectUri.port || 3000), () => console.log(`listening at ${redirectUri.origin}`));
