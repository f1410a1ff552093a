package dev

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cardea-id/cardea/internal/application"
	"github.com/cardea-id/cardea/internal/id"
	"github.com/cardea-id/cardea/internal/operator"
	"github.com/cardea-id/cardea/internal/server"
	"github.com/cardea-id/cardea/internal/sqldb"
)

// robotKey is the name under which the demo knows its operator's secret.
const robotKey = "admin"

// seedRobot makes an application of the system tenant that acts for itself and
// holds everything, so that a newcomer has a token for the admin API at once.
func (d *demonstration) seedRobot(ctx context.Context, s *server.Server) error {
	if known, has := d.Applications[robotKey]; has {
		if _, err := s.Applications.Get(ctx, id.SystemTenant, known.ID); err == nil {
			return nil
		}
	}
	made, secret, err := s.Applications.Create(ctx, id.SystemTenant, "", application.Settings{
		Name: "Admin API of the demo", Kind: application.Machine, Scopes: operator.Scopes(),
	}, "system")
	if err != nil {
		return err
	}
	d.Applications[robotKey] = demoApplication{made.ID, secret}
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		return s.Operators.Set(tx, string(made.ID), 0, operator.Everything(), "system")
	})
}

// tokens answers /dev/token with an access token for the admin API, which it
// gets as any program would.
type tokens struct {
	at    string // the system tenant's origin
	robot atomic.Pointer[demoApplication]
}

func (g *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	robot := g.robot.Load()
	// A name that is made to point here lets another site's scripts read what
	// is answered.
	if robot == nil || !isLoopback(r.Host) {
		http.NotFound(w, r)
		return
	}
	token, err := g.get(r.Context(), *robot)
	if err != nil {
		http.Error(w, "No token was given: "+err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, token+"\n")
}

func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (g *tokens) get(ctx context.Context, robot demoApplication) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body := strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, g.at+"/token", body)
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(string(robot.ID)), url.QueryEscape(robot.Secret))
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy leads to this machine
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	var answered struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&answered); err != nil || answered.Token == "" {
		return "", fmt.Errorf("the token endpoint answered %s; start over with --fresh", response.Status)
	}
	return answered.Token, nil
}
