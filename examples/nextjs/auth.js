// How customers sign in: next-auth (Auth.js) with Cardea as its one provider.
export const options = {
  secret: process.env.SESSION_SECRET,
  providers: [
    {
      id: 'cardea',
      name: 'Cardea',
      type: 'oauth',
      wellKnown: `${process.env.OIDC_ISSUER}/.well-known/openid-configuration`,
      clientId: process.env.OIDC_CLIENT_ID,
      clientSecret: process.env.OIDC_CLIENT_SECRET,
      authorization: { params: { scope: process.env.OIDC_SCOPE } },
      checks: ['pkce', 'state', 'nonce'],
      idToken: true,
      // ID tokens are lean: who the customer is tells userinfo.
      userinfo: {
        async request({ client, tokens }) {
          return client.userinfo(tokens.access_token);
        },
      },
      profile: (claims) => ({ id: claims.sub, name: claims.name ?? claims.email, email: claims.email, image: claims.picture }),
    },
  ],
  callbacks: {
    async jwt({ token, account }) {
      if (account) token.idToken = account.id_token; // for signing out; the cookie is encrypted
      return token;
    },
  },
};
