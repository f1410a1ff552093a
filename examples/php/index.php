<?php
// A PHP application that signs customers in with jumbojett/openid-connect-php.
declare(strict_types=1);

require __DIR__ . '/vendor/autoload.php';

use Jumbojett\OpenIDConnectClient;
use Jumbojett\OpenIDConnectClientException;

$redirect = parse_url(getenv('OIDC_REDIRECT_URI'));
session_name('php_session');
session_set_cookie_params(['path' => '/', 'httponly' => true, 'samesite' => 'Lax', 'secure' => $redirect['scheme'] === 'https']);
session_start(['use_strict_mode' => 1]);

function client(): OpenIDConnectClient
{
    $client = new OpenIDConnectClient(getenv('OIDC_ISSUER'), getenv('OIDC_CLIENT_ID'), getenv('OIDC_CLIENT_SECRET'));
    $client->setRedirectURL(getenv('OIDC_REDIRECT_URI'));
    $client->addScope(explode(' ', getenv('OIDC_SCOPE')));
    $client->setCodeChallengeMethod('S256');
    if (parse_url(getenv('OIDC_ISSUER'), PHP_URL_HOST) === 'localhost') { // only on this machine may the issuer be http
        $client->setHttpUpgradeInsecureRequests(false);
    }
    return $client;
}

function page(string $body): void
{
    header('Content-Type: text/html; charset=utf-8');
    echo '<!doctype html><html lang="en"><meta charset="utf-8"><title>PHP</title><body>', $body, '</body></html>';
}

function home(): void
{
    header('Location: /', true, 303);
}

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$way = $_SERVER['REQUEST_METHOD'] . ' ' . $path;
try {
    if ($way === 'GET /signin' || $way === 'GET ' . $redirect['path']) {
        $client = client();
        $client->authenticate(); // goes to Cardea, or comes back: checks state, PKCE, nonce and the ID token
        // ID tokens are lean: who the customer is tells userinfo.
        $user = $client->requestUserInfo();
        if ($user->sub !== $client->getVerifiedClaims('sub')) {
            throw new OpenIDConnectClientException('userinfo is about another customer');
        }
        session_regenerate_id(true); // against session fixation
        $_SESSION['user'] = (array) $user;
        $_SESSION['id_token'] = $client->getIdToken();
        $_SESSION['refresh_token'] = $client->getRefreshToken();
        home();
    } elseif ($way === 'POST /refresh' && isset($_SESSION['refresh_token'])) {
        $answer = client()->refreshToken($_SESSION['refresh_token']);
        if (isset($answer->refresh_token)) { // good once: keep the next
            $_SESSION['refresh_token'] = $answer->refresh_token;
        } else {
            $_SESSION = []; // signed out elsewhere
        }
        home();
    } elseif ($way === 'POST /signout') {
        $idToken = $_SESSION['id_token'] ?? null;
        $_SESSION = [];
        session_destroy();
        if ($idToken === null) {
            home();
        } else {
            client()->signOut($idToken, getenv('OIDC_POST_LOGOUT_REDIRECT_URI'));
        }
    } elseif ($way === 'GET /') {
        $user = $_SESSION['user'] ?? null;
        page($user === null
            ? '<h1>Hello stranger</h1><p><a href="/signin">Sign in</a></p>'
            : '<h1>Hello ' . htmlspecialchars($user['name'] ?? $user['email'] ?? $user['sub']) . '</h1>
               <form method="post" action="/refresh"><button>Refresh</button></form>
               <form method="post" action="/signout"><button>Sign out</button></form>');
    } else {
        http_response_code(404);
        page('<h1>Not here</h1>');
    }
} catch (OpenIDConnectClientException $fault) {
    error_log($fault->getMessage());
    http_response_code(400);
    page('<h1>That did not work</h1><p><a href="/signin">Try again</a></p>');
}
