package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/cardea-id/cardea/test/client"
)

// get and post write requests. They are as short as a client's may be: what is
// measured is the server.
func (w *world) get(path string, headers ...string) []byte {
	return w.request("GET", path, "", headers)
}

func (w *world) post(path, form string, headers ...string) []byte {
	return w.request("POST", path, form, append(headers, "Content-Type: application/x-www-form-urlencoded", fmt.Sprintf("Content-Length: %d", len(form))))
}

func (w *world) request(method, path, body string, headers []string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, w.address())
	for _, header := range headers {
		b.WriteString(header + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return b.Bytes()
}

func (w *world) path(of string) string { return "/t/" + tenantSlug + of }

// constant is a path of one request that is always the same.
func constant(request []byte, status int) path {
	return path{next: func(*worker) []byte { return request }, take: expect(status)}
}

// each is a path of one request for each worker.
func each(requests [][]byte, status int) path {
	return path{next: func(w *worker) []byte { return requests[w.number] }, take: expect(status)}
}

func (w *world) discovery() path {
	return constant(w.get(w.path("/.well-known/openid-configuration")), http.StatusOK)
}

func (w *world) jwks() path { return constant(w.get(w.path("/jwks")), http.StatusOK) }

// harvest is what workers gather on one path for another.
type harvest struct {
	most  int // for each worker
	items [connections][]string
	used  [connections]int
}

func (h *harvest) add(w *worker, item string) {
	if item != "" && len(h.items[w.number]) < h.most {
		h.items[w.number] = append(h.items[w.number], item)
	}
}

// next is a worker's next item, each once; with again it begins anew after the
// last.
func (h *harvest) next(w *worker, again bool) (string, bool) {
	mine := h.items[w.number]
	i := h.used[w.number]
	if i >= len(mine) && again {
		i = 0
	}
	if i >= len(mine) {
		return "", false
	}
	h.used[w.number] = i + 1
	return mine[i], true
}

func jsonText(body []byte, name string) string {
	_, after, found := bytes.Cut(body, []byte(`"`+name+`":"`))
	if !found {
		return ""
	}
	value, _, _ := bytes.Cut(after, []byte(`"`))
	return string(value)
}

// clientCredentials gathers the tokens for introspection.
func (w *world) clientCredentials(tokens *harvest) path {
	request := w.post(w.path("/token"), "grant_type=client_credentials", "Authorization: "+w.machine.Basic())
	return path{
		next: func(*worker) []byte { return request },
		take: func(k *worker, r *response) (bool, error) {
			if r.status != http.StatusOK {
				return false, errStatus
			}
			if len(tokens.items[k.number]) < tokens.most {
				tokens.add(k, jsonText(r.body, "access_token"))
			}
			return true, nil
		},
	}
}

var active = []byte(`"active":true`)

// introspection asks of each token once, and begins anew when there are no
// more: so many later that no cache would have kept it.
func (w *world) introspection(app client.Application, tokens *harvest) path {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ",
		w.path("/introspect"), w.address(), app.Basic())
	return path{
		next: func(k *worker) []byte {
			token, found := tokens.next(k, true)
			if !found {
				return nil
			}
			k.request = fmt.Appendf(k.request[:0], "%s%d\r\n\r\ntoken=%s", head, len(token)+len("token="), token)
			return k.request
		},
		take: func(_ *worker, r *response) (bool, error) {
			if r.status != http.StatusOK || !bytes.Contains(r.body, active) {
				return false, errStatus
			}
			return true, nil
		},
	}
}

// sessionCheck is an authorization request with a session. Its codes are
// gathered, in the form by which they are redeemed.
func (w *world) sessionCheck(codes *harvest) path {
	requests, verifiers := make([][]byte, connections), make([]string, connections)
	for i, c := range w.customers {
		address, verifier, _ := w.site.AuthorizeURL(w.web, client.Ask{Prompt: "none"})
		requests[i] = w.get(strings.TrimPrefix(address, w.program.Origin), "Cookie: "+c.browser.Cookies())
		verifiers[i] = verifier
	}
	codePrefix := []byte(w.web.RedirectURI + "?code=")
	return path{
		next: func(k *worker) []byte { return requests[k.number] },
		take: func(k *worker, r *response) (bool, error) {
			rest, found := bytes.CutPrefix(r.header("Location"), codePrefix)
			if r.status != http.StatusSeeOther || !found {
				return false, errStatus
			}
			if len(codes.items[k.number]) < codes.most {
				code, _, _ := bytes.Cut(rest, []byte("&"))
				codes.add(k, "grant_type=authorization_code&redirect_uri="+url.QueryEscape(w.web.RedirectURI)+
					"&code_verifier="+verifiers[k.number]+"&code="+string(code))
			}
			return true, nil
		},
	}
}

// redemption redeems each code once. Of the tokens the refresh token that came
// last and all access tokens are kept.
func (w *world) redemption(codes, access *harvest, refresh *[connections]string) path {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ",
		w.path("/token"), w.address(), w.web.Basic())
	return path{
		next: func(k *worker) []byte {
			form, found := codes.next(k, false)
			if !found {
				return nil
			}
			k.request = fmt.Appendf(k.request[:0], "%s%d\r\n\r\n%s", head, len(form), form)
			return k.request
		},
		take: func(k *worker, r *response) (bool, error) {
			if r.status != http.StatusOK {
				return false, errStatus
			}
			access.add(k, jsonText(r.body, "access_token"))
			refresh[k.number] = jsonText(r.body, "refresh_token")
			return true, nil
		},
	}
}

// refresh has each connection refresh a lineage of its own.
func (w *world) refresh(tokens *[connections]string) path {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ",
		w.path("/token"), w.address(), w.web.Basic())
	return path{
		next: func(k *worker) []byte {
			form := "grant_type=refresh_token&refresh_token=" + tokens[k.number]
			k.request = fmt.Appendf(k.request[:0], "%s%d\r\n\r\n%s", head, len(form), form)
			return k.request
		},
		take: func(k *worker, r *response) (bool, error) {
			if r.status != http.StatusOK || !bytes.Contains(r.body, []byte(`"id_token":"`)) {
				return false, errStatus
			}
			tokens[k.number] = jsonText(r.body, "refresh_token")
			return true, nil
		},
	}
}

func (w *world) userInfo(access *harvest) path {
	requests := make([][]byte, connections)
	for i := range requests {
		if len(access.items[i]) > 0 {
			requests[i] = w.get(w.path("/userinfo"), "Authorization: Bearer "+access.items[i][0])
		}
	}
	return each(requests, http.StatusOK)
}

var (
	stateBegin = []byte(`name="state" value="`)
	errPage    = errors.New("not the page that was expected")
)

// signIn is a whole sign-in with a password in a browser that was never here:
// three requests, the last of which computes the hash.
func (w *world) signIn() path {
	begin := make([][]byte, connections)
	for i := range begin {
		address, _, _ := w.site.AuthorizeURL(w.web, client.Ask{})
		begin[i] = w.get(strings.TrimPrefix(address, w.program.Origin))
	}
	submit := func(k *worker, field, value string) []byte {
		return w.post(w.path("/journey"), "state="+url.QueryEscape(k.scratch["state"])+"&"+field+"="+url.QueryEscape(value), "Cookie: "+k.scratch["cookie"])
	}
	return path{
		next: func(k *worker) []byte {
			switch k.state {
			case 0:
				return begin[k.number]
			case 1:
				return submit(k, "identifier", w.customers[k.number].Address)
			default:
				return submit(k, "password", w.customers[k.number].Password)
			}
		},
		take: func(k *worker, r *response) (bool, error) {
			if k.state == 2 {
				if r.status != http.StatusSeeOther || !bytes.Contains(r.header("Location"), []byte("code=")) {
					return false, errStatus
				}
				return true, nil
			}
			_, after, found := bytes.Cut(r.body, stateBegin)
			if !found || r.status != http.StatusOK {
				return false, errPage
			}
			state, _, _ := bytes.Cut(after, []byte(`"`))
			k.scratch["state"] = string(state)
			if k.state == 0 {
				cookie, _, _ := bytes.Cut(r.header("Set-Cookie"), []byte(";"))
				k.scratch["cookie"] = string(cookie)
			}
			return false, nil
		},
	}
}
