package example;

import java.net.URI;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Bean;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.annotation.AuthenticationPrincipal;
import org.springframework.security.oauth2.client.oidc.web.logout.OidcClientInitiatedLogoutSuccessHandler;
import org.springframework.security.oauth2.client.registration.ClientRegistrationRepository;
import org.springframework.security.oauth2.client.web.DefaultOAuth2AuthorizationRequestResolver;
import org.springframework.security.oauth2.client.web.OAuth2AuthorizationRequestCustomizers;
import org.springframework.security.oauth2.core.oidc.user.OidcUser;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.security.web.csrf.CsrfToken;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.util.HtmlUtils;

/** A Spring Boot application that signs customers in with Spring Security. */
@SpringBootApplication
@RestController
public class App {
  public static void main(String[] args) {
    SpringApplication.run(App.class, args);
  }

  @Bean
  SecurityFilterChain security(HttpSecurity http, ClientRegistrationRepository registrations,
      @Value("${OIDC_REDIRECT_URI}") URI redirect, @Value("${OIDC_POST_LOGOUT_REDIRECT_URI}") String afterSignOut) throws Exception {
    // Applications with a secret use PKCE too.
    var requests = new DefaultOAuth2AuthorizationRequestResolver(registrations, "/oauth2/authorization");
    requests.setAuthorizationRequestCustomizer(OAuth2AuthorizationRequestCustomizers.withPkce());
    var signOut = new OidcClientInitiatedLogoutSuccessHandler(registrations);
    signOut.setPostLogoutRedirectUri(afterSignOut);
    return http
        .authorizeHttpRequests(r -> r.requestMatchers("/", "/error").permitAll().anyRequest().authenticated())
        .oauth2Login(login -> login
            .loginPage("/oauth2/authorization/cardea")
            .redirectionEndpoint(e -> e.baseUri(redirect.getPath()))
            .authorizationEndpoint(e -> e.authorizationRequestResolver(requests))
            .defaultSuccessUrl("/", true))
        .logout(l -> l.logoutUrl("/signout").logoutSuccessHandler(signOut))
        .csrf(Customizer.withDefaults())
        .build();
  }

  @GetMapping(value = "/", produces = "text/html;charset=UTF-8")
  String home(@AuthenticationPrincipal OidcUser user, CsrfToken csrf) {
    // getClaims has what the ID token and userinfo say together.
    var body = user == null
        ? "<h1>Hello stranger</h1><p><a href=\"/oauth2/authorization/cardea\">Sign in</a></p>"
        : "<h1>Hello " + HtmlUtils.htmlEscape(name(user)) + "</h1>"
            + "<form method=\"post\" action=\"/signout\"><input type=\"hidden\" name=\"" + csrf.getParameterName() + "\" value=\"" + csrf.getToken()
            + "\"><button>Sign out</button></form>";
    return "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Java</title><body>" + body + "</body></html>";
  }

  private static String name(OidcUser user) {
    if (user.getFullName() != null) return user.getFullName();
    return user.getEmail() != null ? user.getEmail() : user.getSubject();
  }
}
