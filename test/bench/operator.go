package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/cardea-id/cardea/test/client"
)

// searched is what the larger installations have their customers found by the
// beginning of.
var searched = map[string]any{"identifiers": []string{"email"}, "attributes": []string{"given_name", "family_name"}}

// operator asks the admin API with a token, as an application of an operator
// does.
type operator struct {
	world *world
	token string
}

// newOperator makes an application of the operators' tenant that may read
// customers, and gets its token.
func (w *world) newOperator(ctx context.Context) (*operator, error) {
	app, err := w.program.CreateApplication(ctx, "system", "Bench", "machine", "--scope", "customers:read")
	if err != nil {
		return nil, err
	}
	if _, err := w.program.Command(ctx, "operator", "scopes", app.ID, "--scopes", "customers:read", "--tenants", tenantSlug); err != nil {
		return nil, err
	}
	token, err := w.tokenOf(ctx, app)
	return &operator{world: w, token: token}, err
}

func (w *world) tokenOf(ctx context.Context, app client.Application) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.program.System()+"/token", strings.NewReader("grant_type=client_credentials"))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Authorization", app.Basic())
	var answered struct {
		Token string `json:"access_token"`
	}
	return answered.Token, ask(request, &answered)
}

// ask reads an answer in JSON.
func ask(request *http.Request, into any) error {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // read to its end
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", request.URL, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

const ofCustomers = "/admin/v1/tenants/" + tenantSlug + "/customers"

// get writes a request.
func (o *operator) get(path string, query url.Values) []byte {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	request := o.world.get(path, "Authorization: Bearer "+o.token)
	return bytes.Replace(request, []byte("Host: 127.0.0.1"), []byte("Host: localhost"), 1)
}

// customer is the id of a populated customer.
func (o *operator) customer(ctx context.Context, n int) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.world.program.System()+ofCustomers+"/by-identifier?identifier="+url.QueryEscape(populatedAddress(n)), nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+o.token)
	var found struct {
		ID string `json:"id"`
	}
	return found.ID, ask(request, &found)
}

// varied is a path whose requests differ: the one for each number comes from
// request, and its answer has what it is asked for.
func varied(request func(n int) []byte, has string) path {
	part, asked := []byte(has), make([]int, operators)
	return path{
		next: func(k *worker) []byte {
			// Prime strides: what was asked lately, by whichever worker, is not near.
			asked[k.number]++
			return request(asked[k.number]*7919 + k.number*104729)
		},
		take: func(_ *worker, r *response) (bool, error) {
			if r.status != http.StatusOK || !bytes.Contains(r.body, part) {
				return false, errStatus
			}
			return true, nil
		},
	}
}

// measureOperator has operators list and search the customers.
func (w *world) measureOperator(ctx context.Context, many int, take func(string, path) error) error {
	o, err := w.newOperator(ctx)
	if err != nil {
		return err
	}
	deep, err := o.customer(ctx, many*9/10)
	if err != nil {
		return err
	}
	list := func(query url.Values) path { return constant(o.get(ofCustomers, query), http.StatusOK) }
	search := func(prefix func(n int) string, in string) path {
		return varied(func(n int) []byte {
			return o.get(ofCustomers+"/by-prefix", url.Values{"prefix": {prefix(n)}, "in": {in}})
		}, `"value":"`)
	}
	anybody := func(n int) string { return populatedAddress(n % many) }
	return inOrder(
		func() error { return take("admin API, customers, first page of 50", list(nil)) },
		func() error {
			return take("admin API, customers, a page behind nine tenths", list(url.Values{"after": {deep}}))
		},
		func() error {
			return take("admin API, customer by identifier", varied(func(n int) []byte {
				return o.get(ofCustomers+"/by-identifier", url.Values{"identifier": {anybody(n)}})
			}, `"identifiers":[`))
		},
		func() error {
			return take("admin API, search, 20 of all who begin with 3 letters", search(func(n int) string { return populatedFamily(n)[:3] }, "profile.family_name"))
		},
		func() error {
			return take("admin API, search, 20 of those of one family name", search(func(n int) string { return populatedFamily(n % many) }, "profile.family_name"))
		},
		func() error {
			return take("admin API, search, an address but for its end", search(func(n int) string {
				local, _, _ := strings.Cut(anybody(n), "@")
				return local
			}, "email"))
		},
	)
}
