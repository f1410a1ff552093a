package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

type findCustomersCommand struct {
	ofTenant
	output
	Prefix string `arg:"" help:"The first three characters or more, whatever their case."`
	In     string `placeholder:"FIELD" help:"What begins so: email, phone, username, declared:NAME or profile.ATTRIBUTE. Without it, all that the settings name."`
	Limit  int    `default:"20" help:"How many customers are shown at most; 0 for all."`
}

type matchView struct {
	ID         string `json:"id"`
	Status     string `json:"status"`
	In         string `json:"in"`
	Value      string `json:"value"`
	Name       string `json:"name,omitempty"`
	Identifier string `json:"identifier,omitempty"`
	CreatedAt  string `json:"created_at"`
	UpdatedAt  string `json:"updated_at"`
}

type matchesView struct {
	Items   []matchView `json:"items"`
	Next    string      `json:"next,omitempty"`
	Partial bool        `json:"partial,omitempty"`
}

// maxMatches is how many customers a page of a search has at most.
const maxMatches = 50

func (c *findCustomersCommand) Run(ctx context.Context, p *program) error {
	if c.Limit < 0 {
		return usage("--limit is 0 or more")
	}
	cl, err := c.connect(ctx, p)
	if err != nil {
		return err
	}
	defer cl.end(p)
	query := url.Values{"prefix": {c.Prefix}}
	if c.In != "" {
		query.Set("in", c.In)
	}
	all := matchesView{Items: []matchView{}}
	for {
		wanted := maxMatches
		if c.Limit > 0 {
			wanted = min(maxMatches, c.Limit-len(all.Items))
		}
		query.Set("limit", fmt.Sprint(wanted))
		var page matchesView
		if err := cl.call(ctx, http.MethodGet, pathTo("tenants", c.Tenant, "customers", "by-prefix"), query, nil, &page); err != nil {
			return err
		}
		all.Items, all.Next, all.Partial = append(all.Items, page.Items...), page.Next, all.Partial || page.Partial
		if page.Next == "" || (c.Limit > 0 && len(all.Items) >= c.Limit) {
			break
		}
		query.Set("after", page.Next)
	}
	return c.show(p, all.Items, func() error {
		var lines [][]string
		for _, m := range all.Items {
			lines = append(lines, []string{m.ID, m.Status, m.Name, m.Identifier, m.In, m.Value})
		}
		if err := p.table("Nobody was found.", []string{"CUSTOMER", "STATUS", "NAME", "IDENTIFIER", "IN", "VALUE"}, lines); err != nil {
			return err
		}
		if all.Partial {
			if err := p.line("Customers are still being made to be found by what the settings name: there may be more."); err != nil {
				return err
			}
		}
		if all.Next != "" {
			return p.line("There may be more: type more of it, or give --limit 0.")
		}
		return nil
	})
}
