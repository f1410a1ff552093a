package session

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cardea-id/cardea/internal/id"
)

const (
	// DeviceLife is how long a device cookie knows a customer after he last
	// signed in there. It is the longest that browsers keep a cookie.
	DeviceLife = 400 * 24 * time.Hour
	// deviceMax is how many customers one browser is known for.
	deviceMax     = 5
	devicePurpose = "device"
	deviceEntry   = 2*idLength + 16
)

// known is one customer that a device cookie vouches for. Within the cookie an
// entry is the customer and the device as they are spelled, 30 bytes each, the
// customer's security epoch and when it was issued in Unix seconds, both
// big-endian; the newest is first.
type known struct {
	customer id.Customer
	device   id.Device
	epoch    int64
	issued   int64
}

func plainDevices(entries []known) []byte {
	plain := make([]byte, 0, len(entries)*deviceEntry)
	for _, e := range entries {
		plain = append(plain, e.customer...)
		plain = append(plain, e.device...)
		plain = binary.BigEndian.AppendUint64(plain, uint64(e.epoch))
		plain = binary.BigEndian.AppendUint64(plain, uint64(e.issued))
	}
	return plain
}

func parseDevices(plain []byte) []known {
	if len(plain)%deviceEntry != 0 || len(plain) > deviceMax*deviceEntry {
		return nil
	}
	var entries []known
	for ; len(plain) > 0; plain = plain[deviceEntry:] {
		customer, err := id.Parse[id.Customer](string(plain[:idLength]))
		if err != nil {
			return nil
		}
		device, err := id.Parse[id.Device](string(plain[idLength : 2*idLength]))
		if err != nil {
			return nil
		}
		entries = append(entries, known{customer, device,
			int64(binary.BigEndian.Uint64(plain[2*idLength:])), int64(binary.BigEndian.Uint64(plain[2*idLength+8:]))})
	}
	return entries
}

// devices are the entries of a device cookie that have not run out.
func (s *Sessions) devices(ctx context.Context, tenant id.Tenant, cookie string) ([]known, error) {
	if cookie == "" {
		return nil, nil
	}
	keys, err := s.Ring.Tenant(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("the tenant's keys: %w", err)
	}
	plain, err := keys.Open(devicePurpose, cookie)
	if err != nil {
		return nil, nil // not ours, or old: it vouches for nobody
	}
	oldest := s.Clock.Now().Add(-DeviceLife).Unix()
	var entries []known
	for _, e := range parseDevices(plain) {
		if e.issued > oldest {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// Known tells whether a device cookie vouches for a customer whose security
// epoch is the given one, and which device it is then. An error is a fault of
// storage.
func (s *Sessions) Known(ctx context.Context, tenant id.Tenant, cookie string, customer id.Customer, epoch int64) (id.Device, bool, error) {
	entries, err := s.devices(ctx, tenant, cookie)
	if err != nil {
		return "", false, err
	}
	for _, e := range entries {
		if e.customer == customer && e.epoch == epoch {
			return e.device, true, nil
		}
	}
	return "", false, nil
}

// Remember returns the device cookie that vouches for a customer from now on,
// beside those whom the old cookie vouches for. It is called after a sign-in,
// with the security epoch that this has left.
func (s *Sessions) Remember(ctx context.Context, tenant id.Tenant, cookie string, customer id.Customer, epoch int64, device id.Device) (string, error) {
	entries, err := s.devices(ctx, tenant, cookie)
	if err != nil {
		return "", err
	}
	kept := []known{{customer, device, epoch, s.Clock.Now().Unix()}}
	for _, e := range entries {
		if e.customer != customer && len(kept) < deviceMax {
			kept = append(kept, e)
		}
	}
	keys, err := s.Ring.Tenant(ctx, tenant)
	if err != nil {
		return "", fmt.Errorf("the tenant's keys: %w", err)
	}
	return keys.Seal(devicePurpose, plainDevices(kept))
}
