package view

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
)

//go:embed assets/*
var assetFiles embed.FS

// AssetPath is where assets are served: AssetPath + name, where the name holds
// a hash of the content, so that it may be kept for ever
// (Cache-Control: public, max-age=31536000, immutable).
const AssetPath = "/assets/"

// Asset is one file as it is served.
type Asset struct {
	Body        []byte
	ContentType string
	Hash        string // of the body, hexadecimal; a strong ETag when quoted
}

type assets struct {
	byName map[string]Asset  // "cardea.0123456789abcdef.js"
	hashed map[string]string // "cardea.js" → "cardea.0123456789abcdef.js"
	style  []byte            // the stylesheet without a brand's tokens

	backdrop []byte // what it has more where a brand has a background
}

var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

func readAssets() (assets, error) {
	a := assets{byName: map[string]Asset{}, hashed: map[string]string{}}
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		return a, fmt.Errorf("view: %w", err)
	}
	for _, entry := range entries {
		body, err := assetFiles.ReadFile("assets/" + entry.Name())
		if err != nil {
			return a, fmt.Errorf("view: %w", err)
		}
		switch entry.Name() {
		case "cardea.css":
			a.style = body
			continue
		case "backdrop.css":
			a.backdrop = body
			continue
		}
		name, asset := hashed(entry.Name(), body)
		a.byName[name] = asset
		a.hashed[entry.Name()] = name
	}
	return a, nil
}

func hashed(name string, body []byte) (string, Asset) {
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:8])
	ext := path.Ext(name)
	return strings.TrimSuffix(name, ext) + "." + hash + ext, Asset{Body: body, ContentType: contentTypes[ext], Hash: hash}
}

func (a assets) url(name string) string { return AssetPath + a.hashed[name] }

// Asset returns the file that is served at AssetPath + name. Stylesheets are
// the looks' own: see Look.Asset.
func (v *Views) Asset(name string) (Asset, bool) {
	asset, ok := v.assets.byName[name]
	return asset, ok
}
