package formats

import (
	"strconv"
	"strings"

	"billctl/engine"
)

// AlertSchema names the version of the documents that AppendAlert writes.
const AlertSchema = "billctl.alert.v1"

// AppendAlert appends an alert as the JSON document that is delivered: indented by two spaces, its
// members always in the same order, ending in a newline (docs/formats/alert.md). These bytes are
// frozen as those of AppendInvoice are, for the same reasons.
func AppendAlert(dst []byte, a *engine.Alert) []byte {
	j := jsonWriter{dst: dst}
	j.open('{')
	j.text("schema", AlertSchema)
	j.text("key", AlertKey(a))
	j.member("seq")
	j.dst = strconv.AppendUint(j.dst, uint64(a.Seq), 10)
	j.time("at", a.At)
	j.text("account", a.Account)
	j.text("subscription", a.Subscription)
	j.text("plan", a.Plan)
	j.member("period")
	j.open('{')
	j.time("start", a.Start)
	j.time("end", a.End)
	j.text("start_date", a.StartDate)
	j.close('}')
	j.text("budget", a.Budget)
	j.text("percent", a.Percent.String())
	j.text("limit", a.Limit.String())
	j.rat("value", a.Value)
	if a.Meter == "" {
		j.text("currency", a.Currency)
	} else {
		j.text("meter", a.Meter)
		j.text("unit", a.Unit)
	}
	j.close('}')
	return append(j.dst, '\n')
}

// alertPart begins the last part of an alert's key. No kind of invoice begins so.
const alertPart = "alert-"

// AlertKey returns the natural key of an alert: account/subscription/start/alert-BUDGET-PERCENT.
// The parts are escaped as those of InvoiceKey are. A percentage has no hyphen, so two alerts never
// have one key.
func AlertKey(a *engine.Alert) string {
	key := appendKeyPart(nil, a.Account)
	key = appendKeyPart(append(key, '/'), a.Subscription)
	key = appendKeyPart(append(key, '/'), a.StartDate)
	key = append(append(key, '/'), alertPart...)
	key = appendKeyPart(key, a.Budget)
	key = appendKeyPart(append(key, '-'), a.Percent.String())
	return string(key)
}

// IsAlertFile reports whether a directory sink gives a file of this name to an alert, not to an
// invoice. name is without its directory.
func IsAlertFile(name string) bool { return strings.Contains(name, "."+alertPart) }
