// A single-page application that signs customers in with oidc-client-ts.
import { UserManager, WebStorageStateStore, InMemoryWebStorage } from 'oidc-client-ts';

const env = import.meta.env;
const redirect = new URL(env.OIDC_REDIRECT_URI);
const manager = new UserManager({
  authority: env.OIDC_ISSUER,
  client_id: env.OIDC_CLIENT_ID,
  redirect_uri: redirect.href,
  post_logout_redirect_uri: env.OIDC_POST_LOGOUT_REDIRECT_URI,
  scope: env.OIDC_SCOPE,
  loadUserInfo: true, // ID tokens are lean: who the customer is tells userinfo
  automaticSilentRenew: true,
  // Tokens live as long as the page, where no other script finds them; single sign-on brings the customer back after a reload.
  userStore: new WebStorageStateStore({ store: new InMemoryWebStorage() }),
});

const $ = (id) => document.getElementById(id);

function show(user) {
  $('greeting').textContent = user ? `Hello ${user.profile.name ?? user.profile.email ?? user.profile.sub}` : 'Hello stranger';
  $('signin').hidden = Boolean(user);
  $('refresh').hidden = $('signout').hidden = !user;
}

/** Runs what a button stands for, and says what went wrong. */
function press(id, act) {
  $(id).addEventListener('click', async () => {
    $('problem').textContent = '';
    try {
      await act();
    } catch (err) {
      $('problem').textContent = err.message;
    }
  });
}

press('signin', () => manager.signinRedirect());
press('refresh', async () => {
  show(await manager.signinSilent()); // with the refresh token, which is replaced by the next
  $('greeting').dataset.refreshed = 'yes';
});
press('signout', () => manager.signoutRedirect());
manager.events.addUserSignedOut(() => show(null));

try {
  if (location.pathname === redirect.pathname && location.search.includes('state=')) {
    const user = await manager.signinCallback();
    history.replaceState(null, '', '/'); // the code has no place in the history
    show(user);
  } else {
    show(await manager.getUser());
  }
} catch (err) {
  show(null);
  $('problem').textContent = err.message;
}
