package notify

import (
	"context"
	"errors"

	"github.com/cardea-id/cardea/internal/id"
)

// Test sends a message with made-up facts at once, past the outbox, so that
// whoever sets mail up sees what comes of it.
func (o *Outbox) Test(ctx context.Context, message id.Message, tenant id.Tenant, brand Brand, to, lang string) error {
	if err := brand.check(ByMail); err != nil {
		return &PermanentError{Reason: reasonSender}
	}
	if err := CheckAddress(to); err != nil {
		return err
	}
	now := o.o.DB.Clock().Now()
	mail, err := o.o.Words.Preview(Code, lang, brand, Sample{}, now)
	if err != nil {
		return err
	}
	mail.ID, mail.Tenant, mail.To, mail.At = message, tenant, to, now
	return o.o.Transport.Send(ctx, mail)
}

// ReasonOf is why a message did not leave, with nothing personal in it.
func ReasonOf(err error) string {
	var permanent *PermanentError
	if errors.As(err, &permanent) {
		return permanent.Reason
	}
	return reasonOf(err)
}
