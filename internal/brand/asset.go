package brand

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // DecodeConfig reads it
	_ "image/png"  // DecodeConfig reads it
	"slices"
	"strings"
)

// Role is what an asset of a brand is for.
type Role string

// The roles.
const (
	Logo           Role = "logo"
	LogoDark       Role = "logo-dark" // in the dark; without it the logo is the same
	Favicon        Role = "favicon"
	Background     Role = "background" // beside the form, where there is room
	BackgroundDark Role = "background-dark"
	Font           Role = "font"         // of all text
	FontHeading    Role = "font-heading" // of headings and the name; without it they have Font
)

// Roles lists all.
func Roles() []Role {
	return []Role{Logo, LogoDark, Favicon, Background, BackgroundDark, Font, FontHeading}
}

func (r Role) font() bool { return r == Font || r == FontHeading }

// MaxAsset is how large an asset is at most, in bytes.
const MaxAsset = 256 << 10

// Asset is what is known of an asset without its bytes.
type Asset struct {
	Role     Role   `json:"role"`
	Name     string `json:"name"` // the hash of the bytes and the extension: what it is served as
	Type     string `json:"type"` // its content type, found in the bytes
	Bytes    int    `json:"bytes"`
	Width    int    `json:"width,omitempty"`    // of a picture, in its own pixels
	Height   int    `json:"height,omitempty"`   // of a picture
	Variable bool   `json:"variable,omitempty"` // a font that has all weights
}

// ErrAsset says that a file is not taken as an asset; the errors that wrap it
// say why.
var ErrAsset = errors.New("the file is not taken")

// ReadAsset finds out what a file is by its bytes and refuses what cannot be
// what the role needs. What it was called or said to be does not count.
func ReadAsset(role Role, body []byte) (Asset, error) {
	if !slices.Contains(Roles(), role) {
		return Asset{}, fmt.Errorf("%w: there is no %q; there are %s", ErrAsset, role, joined(Roles()))
	}
	if len(body) > MaxAsset {
		return Asset{}, fmt.Errorf("%w: it has %d bytes; an asset has at most %d", ErrAsset, len(body), MaxAsset)
	}
	a := Asset{Role: role, Bytes: len(body)}
	extension, err := a.read(body)
	if err != nil {
		return Asset{}, fmt.Errorf("%w: %w", ErrAsset, err)
	}
	sum := sha256.Sum256(body)
	a.Name = hex.EncodeToString(sum[:16]) + "." + extension
	return a, nil
}

func (a *Asset) read(body []byte) (extension string, err error) {
	if a.Role.font() {
		a.Type = "font/woff2"
		a.Variable, err = readFont(body)
		return "woff2", err
	}
	switch {
	case bytes.HasPrefix(body, []byte("\x89PNG\r\n\x1a\n")):
		a.Type, extension = "image/png", "png"
		a.Width, a.Height, err = pixels(body, "png")
	case bytes.HasPrefix(body, []byte("\xff\xd8\xff")):
		a.Type, extension = "image/jpeg", "jpg"
		a.Width, a.Height, err = pixels(body, "jpeg")
	case len(body) > 12 && string(body[:4]) == "RIFF" && string(body[8:12]) == "WEBP":
		a.Type, extension = "image/webp", "webp"
		a.Width, a.Height, err = readWebP(body)
	case looksLikeXML(body):
		a.Type, extension = "image/svg+xml", "svg"
		a.Width, a.Height, err = readSVG(body)
	default:
		return "", errors.New("it is none of PNG, JPEG, WebP and SVG")
	}
	if err != nil {
		return "", err
	}
	if most := 6000; a.Width < 1 || a.Height < 1 || a.Width > most || a.Height > most {
		return "", fmt.Errorf("it is %d by %d pixels; a side has 1 to %d", a.Width, a.Height, most)
	}
	return extension, nil
}

func pixels(body []byte, format string) (width, height int, err error) {
	config, found, err := image.DecodeConfig(bytes.NewReader(body))
	if err != nil || found != format {
		return 0, 0, fmt.Errorf("it begins as %s and is not one: %w", format, err)
	}
	return config.Width, config.Height, nil
}

// readWebP reads the size of a WebP picture (RFC 9649, sections 2.5 to 2.7).
func readWebP(body []byte) (width, height int, err error) {
	wrong := errors.New("it begins as WebP and is not one")
	if len(body) < 30 || int(binary.LittleEndian.Uint32(body[4:]))+8 > len(body)+1 {
		return 0, 0, wrong
	}
	data := body[20:]
	switch string(body[12:16]) {
	case "VP8 ":
		if data[3] != 0x9d || data[4] != 0x01 || data[5] != 0x2a {
			return 0, 0, wrong
		}
		return int(binary.LittleEndian.Uint16(data[6:]) & 0x3fff), int(binary.LittleEndian.Uint16(data[8:]) & 0x3fff), nil
	case "VP8L":
		if data[0] != 0x2f {
			return 0, 0, wrong
		}
		bits := binary.LittleEndian.Uint32(data[1:])
		return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1, nil
	case "VP8X":
		return 1 + int(data[4]) + int(data[5])<<8 + int(data[6])<<16, 1 + int(data[7]) + int(data[8])<<8 + int(data[9])<<16, nil
	}
	return 0, 0, wrong
}

// fvar is the number of the table of variations among the tables that WOFF2
// knows (WOFF 2.0, section 5.2); 63 says that the name follows.
const fvar, named = 47, 63

// readFont checks the header and the directory of a WOFF2 font (WOFF 2.0,
// section 4) and tells whether it is a variable one. Its glyphs are the
// browser's to check, which does so before it uses a font.
func readFont(body []byte) (variable bool, err error) {
	if !bytes.HasPrefix(body, []byte("wOF2")) {
		return false, errors.New("it is not a WOFF2 font")
	}
	wrong := errors.New("it begins as WOFF2 and is not one")
	if len(body) < 48 || int(binary.BigEndian.Uint32(body[8:])) != len(body) || binary.BigEndian.Uint16(body[14:]) != 0 {
		return false, wrong
	}
	flavour, tables := binary.BigEndian.Uint32(body[4:]), int(binary.BigEndian.Uint16(body[12:]))
	if flavour != 0x00010000 && flavour != 0x4f54544f || tables < 1 || tables > 64 {
		return false, errors.New("it is not a single TrueType or OpenType font")
	}
	rest := body[48:]
	for range tables {
		if len(rest) < 1 {
			return false, wrong
		}
		flags := rest[0]
		rest = rest[1:]
		tag := int(flags & 0x3f)
		glyphs := tag == 10 || tag == 11 // glyf and loca, which are transformed unless they say 3
		if tag == named {
			if len(rest) < 4 {
				return false, wrong
			}
			variable = variable || string(rest[:4]) == "fvar"
			rest = rest[4:]
		}
		variable = variable || tag == fvar
		lengths := 1
		if version := flags >> 6; glyphs && version != 3 || !glyphs && version != 0 {
			lengths = 2
		}
		for range lengths {
			if rest = afterBase128(rest); rest == nil {
				return false, wrong
			}
		}
	}
	return variable, nil
}

// afterBase128 skips a number of up to five bytes; nil if there is none.
func afterBase128(rest []byte) []byte {
	for i := 0; i < 5 && i < len(rest); i++ {
		if rest[i]&0x80 == 0 {
			return rest[i+1:]
		}
	}
	return nil
}

func joined[T ~string](list []T) string {
	var words []string
	for _, word := range list {
		words = append(words, string(word))
	}
	return strings.Join(words, ", ")
}
