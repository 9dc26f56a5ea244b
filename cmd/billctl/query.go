package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"billctl/internal/api"
	"billctl/internal/live"
)

func newQuery(s *session) *cobra.Command {
	return group("query", "Read subtotals, invoices, events, prices and status",
		newQueryAccount(s), newQueryAccounts(s), newQueryLine(s), newQueryInvoice(s), newQueryInvoices(s),
		newQueryAlerts(s), newQueryStatus(s), newQueryEvent(s), newQueryDays(s), newQueryMeters(s),
		newQueryPlans(s), newQueryUses(s), newQueryDeliveries(s), newQueryCheckpoints(s))
}

// asOfFlag adds the flag for answers that an opening can give.
func asOfFlag(c *cobra.Command, month *string) {
	c.Flags().StringVar(month, "as-of", "",
		"as it was at the opening of this `month`, such as 2026-04: when usage first came to it")
}

func outputFlag(c *cobra.Command, output *string) {
	c.Flags().StringVarP(output, "output", "o", "table", "`form` of the answer: table or json")
}

func badOutput(form string) error {
	return &exitError{
		code: exitUsage, text: fmt.Sprintf("-o %s is none of: table, json", form),
		hint: "leave it out for a table, or write -o json",
	}
}

// ask answers a question: by the process that runs on the state directory, else from the directory
// itself. Both use one handler, so they give one answer.
func (s *session) ask(path string, params url.Values) ([]byte, error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	body, err := fetch(s.ctx, s.socket(), path, params)
	var exit *exitError
	switch {
	case err == nil, errors.As(err, &exit), s.ctx.Err() != nil:
		return body, err
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("ask %s: %w", s.socket(), err)
	}
	// Nobody listens, or the process is about to end: the directory has the answer.
	return s.askDirectory(request(s.ctx, path, params))
}

// askAsOf answers from the opening of a month. A running process is not asked: it knows only now.
func (s *session) askAsOf(month, path string, params url.Values) ([]byte, error) {
	desk, done, err := s.openAsOf(month)
	if err != nil {
		return nil, err
	}
	return askDesk(desk, done, nil, request(s.ctx, path, params))
}

// openAsOf opens the state directory as it was at the opening of a month.
func (s *session) openAsOf(month string) (*live.Desk, func() error, error) {
	if _, err := time.Parse("2006-01", month); err != nil {
		return nil, nil, usageError(fmt.Sprintf("--as-of %q is no month such as 2026-04", month))
	}
	dir, err := s.openReadOnly()
	if err != nil {
		return nil, nil, err
	}
	desk, err := live.DeskAsOf(dir, month)
	var none *live.NoOpeningError
	if errors.As(err, &none) {
		err = &exitError{
			code: exitFailed, text: err.Error(), err: err,
			hint: "a run keeps one once the usage has come to a month: billctl archive ls shows them",
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	return desk, func() error { return errors.Join(desk.Close(), dir.Close()) }, nil
}

func request(ctx context.Context, path string, params url.Values) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"http://billctl"+path+"?"+params.Encode(), nil)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return req
}

// fetch asks the process that listens on a socket.
func fetch(ctx context.Context, socket, path string, params url.Values) ([]byte, error) {
	resp, err := api.Dial(socket).Do(request(ctx, path, params))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() // read only
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return answer(resp.StatusCode, body)
}

// askDirectory answers from the state directory.
func (s *session) askDirectory(req *http.Request) ([]byte, error) {
	desk, done, err := s.desk()
	if err != nil {
		return nil, err
	}
	var sinks []string
	for _, c := range s.config.Sinks {
		sinks = append(sinks, c.Name)
	}
	return askDesk(desk, done, sinks, req)
}

// askDesk answers from a desk, and ends with done.
func askDesk(
	desk *live.Desk, done func() error, sinks []string, req *http.Request,
) ([]byte, error) {
	rec := &recorder{status: http.StatusOK, header: http.Header{}}
	api.Handler(desk, sinks).ServeHTTP(rec, req)
	if err := done(); err != nil {
		return nil, err
	}
	return answer(rec.status, rec.body.Bytes())
}

// recorder keeps an answer in memory.
type recorder struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// answer turns a failure into an error.
func answer(status int, body []byte) ([]byte, error) {
	if status == http.StatusOK {
		return body, nil
	}
	if status == http.StatusServiceUnavailable {
		return nil, errors.New("read answer: the process is about to end")
	}
	var fail api.Failure
	if err := json.Unmarshal(body, &fail); err != nil || fail.Error.Message == "" {
		return nil, fmt.Errorf("read answer: status %d", status)
	}
	return nil, &exitError{
		code: exitOf(fail.Error.Code), text: fail.Error.Message, hint: fail.Error.Hint,
	}
}

// exitOf returns the exit code of an answer that says no.
func exitOf(code string) int {
	switch code {
	case api.BadRequest:
		return exitUsage
	case api.ArchiveDamaged:
		return exitArchive
	case api.StateDamaged:
		return exitCorrupt
	}
	return exitFailed
}

// missing adds to an answer that something is not there how to find what is.
func missing(err error, way string) error {
	var exit *exitError
	if errors.As(err, &exit) && exit.code == exitFailed && exit.hint == "" {
		exit.hint = way
	}
	return err
}

// show asks and prints: the answer as it is for json, else by table. asOf is a month, "" for now.
func show[T any](
	s *session, output, asOf, path string, params url.Values, table func(*T) error,
) error {
	if output != "table" && output != "json" {
		return badOutput(output)
	}
	var body []byte
	var err error
	if asOf != "" {
		body, err = s.askAsOf(asOf, path, params)
	} else {
		body, err = s.ask(path, params)
	}
	if err != nil {
		return err
	}
	if output == "json" {
		_, err := s.stdout.Write(body)
		return err
	}
	var out T
	var at struct{ Position api.Position }
	if err := errors.Join(json.Unmarshal(body, &out), json.Unmarshal(body, &at)); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if asOf != "" {
		err := s.lines(fmt.Sprintf("as of the opening of %s at position %d", asOf, at.Position.Seq))
		if err != nil {
			return err
		}
	}
	return table(&out)
}

func newQueryAccount(s *session) *cobra.Command {
	var output, asOf string
	c := &cobra.Command{
		Use:   "account ID",
		Short: "What an account owes that no invoice has billed yet",
		Long: `Shows the open periods of an account: its usage, what it has come to so far, and what
the invoice would be if the period closed now (with minimums and what is billed in advance).`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			err := show(s, output, asOf, "/v1/account", url.Values{"id": args}, s.accountTable)
			return missing(err, "billctl query accounts lists them")
		},
	}
	outputFlag(c, &output)
	asOfFlag(c, &asOf)
	return c
}

func newQueryInvoice(s *session) *cobra.Command {
	var output, asOf string
	c := &cobra.Command{
		Use:     "invoice KEY",
		Short:   "Show one issued invoice",
		Example: "  billctl query invoice acme/main/2026-09-01/period",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			err := show(s, output, asOf, "/v1/invoice", url.Values{"key": args}, s.invoiceTable)
			return missing(err, "billctl query invoices lists them")
		},
	}
	outputFlag(c, &output)
	asOfFlag(c, &asOf)
	return c
}

func newQueryInvoices(s *session) *cobra.Command {
	var output, asOf, account, period, before string
	var newest bool
	var limit int
	c := &cobra.Command{
		Use:   "invoices",
		Short: "List the issued invoices",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			p := url.Values{"account": {account}, "period": {period}, "limit": {strconv.Itoa(limit)}}
			if newest || before != "" {
				p.Set("order", "newest")
				p.Set("before", before)
			}
			return show(s, output, asOf, "/v1/invoices", p, s.invoicesTable)
		},
	}
	outputFlag(c, &output)
	asOfFlag(c, &asOf)
	c.Flags().StringVar(&account, "account", "", "only of this account `id`")
	c.Flags().StringVar(&period, "period", "", "only of periods that start so, such as `2026-09`")
	c.Flags().BoolVar(&newest, "newest", false, "the newest first")
	c.Flags().StringVar(&before, "before", "",
		"only invoices issued before the one with this `key`, the newest first")
	c.Flags().IntVar(&limit, "limit", 100, "invoices at most")
	return c
}

func newQueryStatus(s *session) *cobra.Command {
	var output, asOf string
	c := &cobra.Command{
		Use:   "status",
		Short: "How state, sources, sinks and process are",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if err := s.load(); err != nil {
				return err
			}
			return show(s, output, asOf, "/v1/status", nil, s.statusTable)
		},
	}
	outputFlag(c, &output)
	asOfFlag(c, &asOf)
	return c
}

func newQueryEvent(s *session) *cobra.Command {
	var f eventFlags
	c := &cobra.Command{
		Use:   "event [ID]",
		Short: "Show rows of the log and what became of them",
		Long: `Shows the rows with an id, or all rows that the flags name: accepted or rejected, by which
reason, owned by which account, and where they were read. It reads the whole journal, but with
--newest, --before and --seq only as much of it as it needs.`,
		Example: `  billctl query event 6a1f0c1e-9d55-4c1e-8f0e-0d3c2b1a4f5e
  billctl query event --outcome malformed --limit 5
  billctl query event --outcome rejected --newest
  billctl query event --seq 4711`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if f.asOf != "" {
				return noEventsAsOf()
			}
			f.newest = f.newest || f.before != 0
			if len(args) == 0 && f.subject+f.account+f.outcome == "" && f.seq == 0 && !f.newest {
				return usageError(
					"say which: an ID, --seq, --subject, --account, --outcome or --newest")
			}
			return show(s, f.output, "", "/v1/events", f.params(args), s.eventTable)
		},
	}
	f.addTo(c)
	return c
}

// eventFlags are the flags of query event.
type eventFlags struct {
	output, asOf, subject, account, outcome string
	seq, before                             uint64
	newest                                  bool
	limit                                   int
}

func (f *eventFlags) addTo(c *cobra.Command) {
	outputFlag(c, &f.output)
	noAsOfFlag(c, &f.asOf)
	c.Flags().StringVar(&f.subject, "subject", "", "only rows of this `subject`")
	c.Flags().StringVar(&f.account, "account", "",
		"only rows whose subject this account `id` owned at their time")
	c.Flags().StringVar(&f.outcome, "outcome", "",
		"only rows with this `outcome`: accepted, malformed, unknown_account, ...; or rejected: all but "+
			"accepted")
	c.Flags().Uint64Var(&f.seq, "seq", 0, "the row at this `position` of the journal")
	c.Flags().BoolVar(&f.newest, "newest", false, "the newest first")
	c.Flags().Uint64Var(&f.before, "before", 0,
		"only rows before this `position` of the journal, the newest first")
	c.Flags().IntVar(&f.limit, "limit", 20, "rows at most")
}

func (f *eventFlags) params(id []string) url.Values {
	p := url.Values{
		"id": id, "subject": {f.subject}, "account": {f.account}, "outcome": {f.outcome},
		"limit": {strconv.Itoa(f.limit)},
	}
	setSeq(p, "seq", f.seq)
	setSeq(p, "before", f.before)
	if f.newest {
		p.Set("order", "newest")
	}
	return p
}

// where says in one line what an answer is true of.
func (s *session) where(p *api.Position) string {
	var parts []string
	parts = append(parts, strings.ReplaceAll(p.Status, "_", " "), fmt.Sprintf("seq %d", p.Seq))
	if p.At != nil {
		parts = append(parts, "at "+*p.At)
	}
	if p.CompleteThrough != nil {
		parts = append(parts, "complete through "+*p.CompleteThrough)
	}
	return strings.Join(parts, ", ")
}
