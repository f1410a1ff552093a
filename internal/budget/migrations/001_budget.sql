-- How often a secret of one subject may be tried, or a message sent to it.
-- subject is a customer's id or a bucket of strangers; device is '' or the id
-- of one of that customer's devices, whose rows stand beside the customer's.
-- used counts within the window that ends at window_end; total counts in a row,
-- until one succeeds, and outlives all windows; met is how often the window's
-- limit was reached, which is more than once when a success gave one back.
-- distribution: subject
CREATE TABLE budget (
    tenant     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    device     TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    window_end BIGINT  NOT NULL,
    used       BIGINT  NOT NULL,
    met        BIGINT  NOT NULL,
    total      BIGINT  NOT NULL,
    PRIMARY KEY (tenant, subject, device, kind)
);

-- What the sweep looks for: windows that ended, of rows that keep no total.
CREATE INDEX budget_window_end ON budget (window_end) WHERE total = 0;
