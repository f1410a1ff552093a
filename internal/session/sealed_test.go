package session

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/cardea-id/cardea/internal/id"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What stands inside sealed values is read by later releases: it is frozen.
func TestSealedFormats(t *testing.T) {
	h := handle{customer: "cus_01arz3ndektsv4rrffq69g5fav", session: "ses_01arz3ndektsv4rrffq69g5fb0"}
	for i := range h.secret.value {
		h.secret.value[i] = byte(i)
	}
	devices := []known{
		{"cus_01arz3ndektsv4rrffq69g5fav", "dev_01arz3ndektsv4rrffq69g5fb1", 7, 1767225600},
		{"cus_01arz3ndektsv4rrffq69g5fb2", "dev_01arz3ndektsv4rrffq69g5fb1", 1, 1767225000},
	}
	lines := []string{"session " + hex.EncodeToString(h.plain()), "device " + hex.EncodeToString(plainDevices(devices)), ""}
	const file = "testdata/sealed.golden"
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(golden) != strings.Join(lines, "\n") {
		t.Errorf("the sealed contents have changed:\n%s", strings.Join(lines, "\n"))
	}
	read, ok := parseHandle(h.plain())
	if !ok || read != h {
		t.Errorf("read %v, %v", read, ok)
	}
	if got := parseDevices(plainDevices(devices)); len(got) != 2 || got[0] != devices[0] || got[1] != devices[1] {
		t.Errorf("read %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(handle{customer: id.Customer("cus_01arz3ndektsv4rrffq69g5fav"), session: "ses_01arz3ndektsv4rrffq69g5fb0"}.plain())
	f.Add(plainDevices([]known{{"cus_01arz3ndektsv4rrffq69g5fav", "dev_01arz3ndektsv4rrffq69g5fb1", 7, 1767225600}}))
	f.Fuzz(func(t *testing.T, plain []byte) {
		if h, ok := parseHandle(plain); ok && !bytes.Equal(h.plain(), plain) {
			t.Errorf("%x is read as %x", plain, h.plain())
		}
		if entries := parseDevices(plain); entries != nil && !bytes.Equal(plainDevices(entries), plain) {
			t.Errorf("%x is read as %x", plain, plainDevices(entries))
		}
	})
}

func TestParseAgent(t *testing.T) {
	for _, c := range []struct {
		name, userAgent string
		hints           Hints
		want            Agent
	}{
		{"Edge on Windows", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 Edg/124.0", Hints{}, Agent{Browser: "Edge", OS: "Windows"}},
		{"iPhone", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1", Hints{}, Agent{Browser: "Safari", OS: "iOS", Device: "iPhone"}},
		{"frozen, with hints", "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36",
			Hints{Brands: `"Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"`, Platform: `"Android"`, Model: `"Pixel 8"`}, Agent{Browser: "Chrome", OS: "Android", Device: "Pixel 8"}},
		{"brand that the agent hides", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
			Hints{Brands: `"Brave";v="124", "Not?A_Brand";v="8", "Chromium";v="124"`, Platform: `"Linux"`}, Agent{Browser: "Brave", OS: "Linux"}},
		{"nothing", "", Hints{}, Agent{}},
		{"noise", "\x00\xff(", Hints{Brands: "\x00;;,,", Platform: "\xff"}, Agent{}},
	} {
		c.want.IP = "192.0.2.7"
		if got := ParseAgent(c.userAgent, c.hints, "192.0.2.7"); got != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	long := ParseAgent(strings.Repeat("x", 1<<20), Hints{Model: strings.Repeat("é", 1<<20)}, "")
	if len(long.Device) > labelMax || len(long.Browser) > labelMax {
		t.Errorf("names of %d and %d bytes", len(long.Browser), len(long.Device))
	}
}
