package grant

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

var golden = refreshToken{Ref{
	Application: "app_01arz3ndektsv4rrffq69g5fav", Customer: "cus_01arz3ndektsv4rrffq69g5fb0",
	Session: "ses_01arz3ndektsv4rrffq69g5fb1", Lineage: "lin_01arz3ndektsv4rrffq69g5fb2",
}, 258}

// What stands inside a refresh token is read by later releases: it is frozen.
func TestSealedFormat(t *testing.T) {
	const file = "testdata/refresh.golden"
	got := hex.EncodeToString(golden.plain()) + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the sealed content has changed: %s", got)
	}
	if read, ok := parseRefresh(golden.plain()); !ok || read != golden {
		t.Errorf("read %+v, %v", read, ok)
	}
	for _, wrong := range [][]byte{nil, golden.plain()[1:], append(golden.plain(), 0), make([]byte, 128), refreshToken{golden.Ref, 0}.plain(), refreshToken{golden.Ref, -1}.plain()} {
		if _, ok := parseRefresh(wrong); ok {
			t.Errorf("%x is read", wrong)
		}
	}
}

func FuzzParseRefresh(f *testing.F) {
	f.Add(golden.plain())
	f.Fuzz(func(t *testing.T, plain []byte) {
		if read, ok := parseRefresh(plain); ok && !bytes.Equal(read.plain(), plain) {
			t.Errorf("%x is read as %x", plain, read.plain())
		}
	})
}
