"""A Flask application that signs customers in with Authlib."""

import os
from urllib.parse import urlencode, urlsplit

from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from authlib.integrations.requests_client import OAuth2Session
from dotenv import load_dotenv
from flask import Flask, redirect, render_template_string, session

load_dotenv()
env = os.environ
redirect_uri = urlsplit(env["OIDC_REDIRECT_URI"])

app = Flask(__name__)
app.secret_key = env["SESSION_SECRET"]
app.config.update(
    SESSION_COOKIE_NAME="python_session",
    SESSION_COOKIE_SAMESITE="Lax",
    SESSION_COOKIE_SECURE=redirect_uri.scheme == "https",
)
cardea = OAuth(app).register(
    "cardea",
    client_id=env["OIDC_CLIENT_ID"],
    client_secret=env["OIDC_CLIENT_SECRET"],
    server_metadata_url=env["OIDC_ISSUER"] + "/.well-known/openid-configuration",
    client_kwargs={"scope": env["OIDC_SCOPE"], "code_challenge_method": "S256"},
)

# Flask's own session is a signed cookie that its owner can read, and too small for tokens: they stay here. A real
# application has a store.
tokens = {}

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Python</title><body>
{% if user %}<h1>Hello {{ user.name or user.email or user.sub }}</h1>
<form method="post" action="/refresh"><button>Refresh</button></form>
<form method="post" action="/signout"><button>Sign out</button></form>
{% else %}<h1>Hello stranger</h1><p><a href="/signin">Sign in</a></p>{% endif %}
</body></html>"""


@app.get("/")
def home():
    return render_template_string(PAGE, user=session.get("user"))


@app.get("/signin")
def sign_in():
    return cardea.authorize_redirect(env["OIDC_REDIRECT_URI"])


@app.get(redirect_uri.path)
def callback():
    try:
        token = cardea.authorize_access_token()  # checks state, PKCE, nonce and the ID token
    except OAuthError as error:
        return render_template_string("<h1>That did not work: {{ e }}</h1><a href='/signin'>Try again</a>", e=error.error), 400
    user = cardea.userinfo(token=token)  # ID tokens are lean: who the customer is tells userinfo
    if user["sub"] != token["userinfo"]["sub"]:
        return "userinfo is about another customer", 400
    session.clear()
    session["user"] = user
    tokens[user["sub"]] = token
    return redirect("/")


@app.post("/refresh")
def refresh():
    user = session.get("user")
    token = tokens.get(user["sub"]) if user else None
    if not token:
        return redirect("/signin")
    try:
        # A refresh token is good once: the next is in the answer.
        with OAuth2Session(env["OIDC_CLIENT_ID"], env["OIDC_CLIENT_SECRET"]) as client:
            fresh = client.refresh_token(cardea.load_server_metadata()["token_endpoint"], refresh_token=token["refresh_token"])
    except OAuthError:
        session.clear()  # signed out elsewhere
        return redirect("/")
    tokens[user["sub"]] = {**token, **fresh}
    session["user"] = cardea.userinfo(token=fresh)
    return redirect("/")


@app.post("/signout")
def sign_out():
    user = session.get("user")
    token = tokens.pop(user["sub"], None) if user else None
    session.clear()
    if not token:
        return redirect("/")
    query = {"id_token_hint": token["id_token"], "post_logout_redirect_uri": env["OIDC_POST_LOGOUT_REDIRECT_URI"]}
    return redirect(cardea.load_server_metadata()["end_session_endpoint"] + "?" + urlencode(query))


if __name__ == "__main__":
    app.run(host="localhost", port=redirect_uri.port)
