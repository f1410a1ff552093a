package notify

import "context"

// Probe connects to the server as a message would, with its encryption and its
// password, and sends none. The reason that it returns is one of "timeout",
// "tls" and "connection", and "" when a message could be handed over.
func (s *SMTP) Probe(ctx context.Context) (reason string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	c, _, err := s.connect(ctx)
	if err != nil {
		return connectReason(err), err
	}
	c.close()
	return "", nil
}
