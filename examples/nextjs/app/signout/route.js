// Ends the application's own session and goes on to end the one at Cardea (RP-Initiated Logout 1.0).
import { getToken } from 'next-auth/jwt';
import { NextResponse } from 'next/server';

export async function POST(request) {
  if (request.headers.get('sec-fetch-site') === 'cross-site') return new NextResponse('Not from another site.', { status: 403 });
  const token = await getToken({ req: request, secret: process.env.SESSION_SECRET });
  const home = process.env.OIDC_POST_LOGOUT_REDIRECT_URI;
  let target = home;
  if (token?.idToken) {
    const { end_session_endpoint: end } = await (await fetch(`${process.env.OIDC_ISSUER}/.well-known/openid-configuration`)).json();
    target = `${end}?${new URLSearchParams({ id_token_hint: token.idToken, post_logout_redirect_uri: home })}`;
  }
  const answer = NextResponse.redirect(target, 303);
  for (const { name } of request.cookies.getAll()) {
    if (name.includes('next-auth.session-token')) answer.cookies.set(name, '', { maxAge: 0, path: '/', secure: name.startsWith('__Secure-') });
  }
  return answer;
}
