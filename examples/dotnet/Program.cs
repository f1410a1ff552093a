// An ASP.NET Core application that signs customers in with Microsoft's OpenID Connect handler.
using System.Net;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Authentication.OpenIdConnect;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;

var builder = WebApplication.CreateBuilder(args);
var env = builder.Configuration; // holds the environment
var redirect = new Uri(env["OIDC_REDIRECT_URI"]!);
var afterSignOut = new Uri(env["OIDC_POST_LOGOUT_REDIRECT_URI"]!);
builder.WebHost.UseUrls($"http://localhost:{redirect.Port}");

builder.Services.AddAuthentication(options =>
{
    options.DefaultScheme = CookieAuthenticationDefaults.AuthenticationScheme;
    options.DefaultChallengeScheme = OpenIdConnectDefaults.AuthenticationScheme;
})
.AddCookie(options => options.Cookie.Name = "dotnet_session")
.AddOpenIdConnect(options =>
{
    options.Authority = env["OIDC_ISSUER"];
    options.ClientId = env["OIDC_CLIENT_ID"];
    // The handler sends the secret in the form: register the application with --auth-method client_secret_post.
    options.ClientSecret = env["OIDC_CLIENT_SECRET"];
    options.RequireHttpsMetadata = new Uri(env["OIDC_ISSUER"]!).Host != "localhost"; // only on this machine may the issuer be http
    options.ResponseType = OpenIdConnectResponseType.Code;
    options.ResponseMode = OpenIdConnectResponseMode.Query;
    options.UsePkce = true;
    options.CallbackPath = redirect.AbsolutePath;
    options.SignedOutCallbackPath = "/signed-out-callback";
    options.Scope.Clear();
    foreach (var scope in env["OIDC_SCOPE"]!.Split(' ')) options.Scope.Add(scope);
    options.GetClaimsFromUserInfoEndpoint = true; // ID tokens are lean: who the customer is tells userinfo
    options.MapInboundClaims = false;
    options.TokenValidationParameters.NameClaimType = "name";
    options.SaveTokens = true; // the handler needs the ID token for signing out
    options.Events.OnRedirectToIdentityProviderForSignOut = context =>
    {
        context.ProtocolMessage.PostLogoutRedirectUri = afterSignOut.ToString();
        context.ProtocolMessage.State = null;
        return Task.CompletedTask;
    };
    // With the query response mode and http the cookies of the sign-in need to be Lax.
    options.CorrelationCookie.SameSite = options.NonceCookie.SameSite = SameSiteMode.Lax;
    options.CorrelationCookie.SecurePolicy = options.NonceCookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
});

var app = builder.Build();
app.UseAuthentication();

app.MapGet("/", (HttpContext context) =>
{
    var user = context.User;
    var name = user.FindFirst("name")?.Value ?? user.FindFirst("email")?.Value ?? user.FindFirst("sub")?.Value;
    var body = name is null
        ? "<h1>Hello stranger</h1><p><a href=\"/signin\">Sign in</a></p>"
        : $"<h1>Hello {WebUtility.HtmlEncode(name)}</h1><form method=\"post\" action=\"/signout\"><button>Sign out</button></form>";
    return Results.Content($"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>.NET</title><body>{body}</body></html>", "text/html");
});
app.MapGet("/signin", () => Results.Challenge(new AuthenticationProperties { RedirectUri = "/" }));
app.MapPost("/signout", () => Results.SignOut(new AuthenticationProperties { RedirectUri = "/" },
    [CookieAuthenticationDefaults.AuthenticationScheme, OpenIdConnectDefaults.AuthenticationScheme]));

app.Run();
