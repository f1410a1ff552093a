package pages

import (
	"errors"
	"net/http"
	"path"
	"strings"

	"github.com/cardea-id/cardea/internal/tenant"
)

// asset serves a stylesheet, script or picture. Its name holds a hash of what
// is in it, so that it is kept for ever.
func (p *Pages) asset(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	name := r.PathValue("name")
	asset, ok := p.Views.Asset(name)
	if !ok {
		look, err := p.looks.of(r.Context(), p.Logger, t)
		if err != nil {
			p.broken(w, r, t, err)
			return
		}
		if asset, ok = look.Asset(name); !ok {
			p.NotFound(w, r, t)
			return
		}
	}
	serveAsset(w, r, asset.ContentType, asset.Hash, asset.Body)
}

// brandAsset serves a picture or a font of the tenant's brand.
func (p *Pages) brandAsset(w http.ResponseWriter, r *http.Request, t *tenant.Tenant) {
	asset, body, err := p.BrandAsset(r.Context(), t, r.PathValue("name"))
	if errors.Is(err, tenant.ErrNoAsset) {
		p.NotFound(w, r, t)
		return
	}
	if err != nil {
		p.broken(w, r, t, err)
		return
	}
	serveAsset(w, r, asset.Type, strings.TrimSuffix(asset.Name, path.Ext(asset.Name)), body)
}

func serveAsset(w http.ResponseWriter, r *http.Request, contentType, hash string, body []byte) {
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("ETag", `"`+hash+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	// A picture that is opened by itself runs nothing (SVG).
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Type", contentType)
	if r.Header.Get("If-None-Match") == `"`+hash+`"` {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(body)
}
