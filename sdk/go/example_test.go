package cardea_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	cardea "github.com/cardea-id/cardea/sdk/go"
)

// An API that only customers whose token has the scope orders:read may call.
func Example() {
	issuer := newWorld(exampleT{})
	defer issuer.Close()
	os.Setenv("OIDC_ISSUER", issuer.URL)

	guard, err := cardea.New(cardea.Config{Issuer: os.Getenv("OIDC_ISSUER"), Audience: "https://api.example.com"})
	if err != nil {
		log.Fatal(err)
	}
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "The orders of", cardea.From(r.Context()).Subject)
	})
	api := httptest.NewServer(guard.Protect(orders, "orders:read"))
	defer api.Close()

	for _, token := range []string{"", issuer.token(nil), issuer.token(object{"scope": "openid"})} {
		r, _ := http.NewRequest(http.MethodGet, api.URL, http.NoBody)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			log.Fatal(err)
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		fmt.Print(answer.StatusCode, " ", answer.Header.Get("WWW-Authenticate"), " ", string(text))
	}
	// Output:
	// 401 Bearer {"error":"unauthorized","error_description":"The request carries no access token."}
	// 200  The orders of cus_ana
	// 403 Bearer error="insufficient_scope", error_description="The token lacks a scope that this needs.", scope="orders:read" {"error":"insufficient_scope","error_description":"The token lacks a scope that this needs."}
}
