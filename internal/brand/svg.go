package brand

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An SVG is shown as a picture only, in which browsers run nothing and load
// nothing, and is served under a policy that lets nothing run when it is opened
// by itself. This is the third lock: what could run, load or lead elsewhere is
// refused before it is stored.

func looksLikeXML(body []byte) bool {
	start := bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n")
	return bytes.HasPrefix(start, []byte("<svg")) || bytes.HasPrefix(start, []byte("<?xml")) || bytes.HasPrefix(start, []byte("<!--")) || bytes.HasPrefix(start, []byte("<!DOCTYPE"))
}

const (
	svgSpace   = "http://www.w3.org/2000/svg"
	xlinkSpace = "http://www.w3.org/1999/xlink"
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
)

var svgElements = []string{
	"svg", "g", "defs", "symbol", "use", "title", "desc", "style", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon",
	"text", "tspan", "linearGradient", "radialGradient", "stop", "clipPath", "mask", "pattern", "marker", "filter",
	"feGaussianBlur", "feOffset", "feBlend", "feColorMatrix", "feComposite", "feFlood", "feMerge", "feMergeNode", "feDropShadow",
}

// reaches finds in a value what could load or run something: a url() that is
// not a part of the same file, an import, an escape that hides one.
var reaches = regexp.MustCompile(`(?i)url\(\s*["']?\s*[^#"'\s]|@import|@font-face|javascript:|data:|expression\(|image\(|image-set\(|src\(|\\|&|<`)

func readSVG(body []byte) (width, height int, err error) {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	decoder.Entity = map[string]string{} // none but XML's own five
	depth, roots, styles := 0, 0, false
	var style strings.Builder // comments and CDATA split what a browser reads as one
	for count := 0; ; count++ {
		if count > 20_000 {
			return 0, 0, errors.New("the SVG has too many parts")
		}
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, 0, fmt.Errorf("the SVG is not well-formed: %w", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if depth == 0 {
				if roots++; roots > 1 || token.Name.Local != "svg" {
					return 0, 0, errors.New("it is not one SVG")
				}
				width, height = svgSize(token.Attr)
			}
			if depth++; depth > 100 {
				return 0, 0, errors.New("the SVG is nested too deep")
			}
			if err := checkElement(token); err != nil {
				return 0, 0, err
			}
			styles = token.Name.Local == "style"
		case xml.EndElement:
			depth--
			styles = false
		case xml.CharData:
			if styles {
				style.Write(token)
			}
		case xml.Directive:
			return 0, 0, errors.New("the SVG has a <!DOCTYPE>; save it without")
		case xml.ProcInst:
			if token.Target != "xml" {
				return 0, 0, fmt.Errorf("the SVG has a <?%s?>; save it without", token.Target)
			}
		}
	}
	if roots == 0 {
		return 0, 0, errors.New("there is no <svg> in it")
	}
	if reaches.MatchString(style.String()) {
		return 0, 0, errors.New("the SVG's <style> loads something")
	}
	return width, height, nil
}

func checkElement(element xml.StartElement) error {
	if element.Name.Space != svgSpace {
		return fmt.Errorf("the SVG has <%s> of %q; save it as plain SVG (xmlns=%q)", element.Name.Local, element.Name.Space, svgSpace)
	}
	if !slices.Contains(svgElements, element.Name.Local) {
		return fmt.Errorf("the SVG has <%s>, which is not taken in pictures", element.Name.Local)
	}
	for _, attribute := range element.Attr {
		name, space := attribute.Name.Local, attribute.Name.Space
		switch {
		case space == "xmlns" || name == "xmlns":
			continue
		case space != "" && space != xlinkSpace && space != xmlSpace:
			return fmt.Errorf("the SVG has the attribute %s of %q; save it as plain SVG", name, space)
		case strings.HasPrefix(strings.ToLower(name), "on"):
			return fmt.Errorf("the SVG has the attribute %s, which runs a script", name)
		case strings.EqualFold(name, "href") && !strings.HasPrefix(strings.TrimSpace(attribute.Value), "#"):
			return errors.New("the SVG has a link to another file")
		case name == "base" && space == xmlSpace:
			return errors.New("the SVG has xml:base, which leads elsewhere")
		case reaches.MatchString(attribute.Value) && !harmless(name):
			return fmt.Errorf("the SVG's attribute %s loads something", name)
		}
	}
	return nil
}

// harmless are attributes that browsers show and never load from.
func harmless(name string) bool {
	return slices.Contains([]string{"aria-label", "d", "points", "id", "class"}, name)
}

var svgLength = regexp.MustCompile(`^\s*([0-9]*\.?[0-9]+)(px|pt|mm)?\s*$`)

// svgSize is how large a drawing says it is, else as its viewBox, else 300 by
// 150 as browsers take it.
func svgSize(attributes []xml.Attr) (width, height int) {
	found := map[string]string{}
	for _, attribute := range attributes {
		if attribute.Name.Space == "" {
			found[attribute.Name.Local] = attribute.Value
		}
	}
	w, h := svgLength.FindStringSubmatch(found["width"]), svgLength.FindStringSubmatch(found["height"])
	if w != nil && h != nil {
		return rounded(w[1]), rounded(h[1])
	}
	if box := strings.FieldsFunc(found["viewBox"], func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\t' }); len(box) == 4 {
		width, height = rounded(box[2]), rounded(box[3])
		for width > 6000 || height > 6000 { // units are not pixels
			width, height = width/2, height/2
		}
		return max(width, 1), max(height, 1)
	}
	return 300, 150
}

func rounded(text string) int {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n > 1e6 || math.IsNaN(n) {
		return 0
	}
	return max(1, int(math.Round(n)))
}
