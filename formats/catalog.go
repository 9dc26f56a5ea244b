package formats

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"billctl/engine"
)

// Catalog is what a catalog directory says: meters, plans, defaults and accounts. Every reference
// in it holds. The language is docs/formats/catalog.md.
type Catalog struct {
	Meters   []engine.Meter   // by rising Key
	Plans    []engine.Plan    // by rising Key and Version
	Defaults []engine.Default // by rising Event
	Budgets  []engine.Budget  // by rising Key
	Accounts []Account        // by rising ID
	Files    []string         // that were read, rising; none: there is no catalog

	meterAt   map[string]place
	planAt    map[planID]*planPlaces
	defaultAt map[string]place
	budgetAt  map[string]*budgetPlaces
	zones     map[string]*engine.Zone // of the accounts
}

// Account is a customer as the catalog has it.
type Account struct {
	ID            string
	Name          string // ID where the file gives none
	Zone          string
	Subjects      []string              // as the file lists them; [ID] where it has no list
	Subscriptions []engine.Subscription // by rising Key and From
	Coupons       []engine.Coupon       // by rising ID
	Taxes         []engine.AccountTaxes // by rising From

	at *accountPlaces
}

// planID identifies a version of a plan.
type planID struct {
	key     string
	version int
}

// planPlaces are where the parts of a plan version stand.
type planPlaces struct {
	plan, version, effective, currency place
	anchor                             place // or of the period
	prices                             map[string]place
}

// accountPlaces are where the parts of an account stand.
type accountPlaces struct {
	id, zone      place
	named, listed bool    // whether the file gives a name, a list of subjects
	subjects      []place // by Account.Subjects
	subscriptions []subPlaces
	coupons       []couponPlaces // by Account.Coupons
	taxes         []place        // by Account.Taxes
}

// subPlaces are where the parts of a subscription stand.
type subPlaces struct {
	sub, plan, pin, from, to place
	overrides                *node // until they are checked
}

// ReadCatalog reads every *.yaml and *.yml file below the root of fsys, and the files
// accounts*.csv and accounts*.jsonl, in the order of their paths; how a catalog is cut into files
// does not matter. Files and directories whose name begins with a point are passed over, so are
// all other files.
//
// It fails with Faults where the files are at fault, and with the error of fsys where it can't
// be read.
func ReadCatalog(fsys fs.FS) (*Catalog, error) {
	r := newCatalogReader()
	if err := r.walk(fsys); err != nil {
		return nil, err
	}
	return r.result()
}

// ReadAccounts reads one file of accounts, named *.csv or *.jsonl, against the plans of a catalog,
// and returns the accounts alone. The catalog's own accounts do not count: those of the file may be
// among them. It fails as ReadCatalog does; faults of the file have its name alone.
func ReadAccounts(fsys fs.FS, name string, data []byte) (*Catalog, error) {
	r := newCatalogReader()
	if err := r.walk(fsys); err != nil {
		return nil, err
	}
	clear(r.accounts)
	clear(r.subjects)
	r.c.Accounts, r.c.Budgets = nil, nil
	r.outside = name
	if len(data) > maxTable {
		r.tooLarge(name, maxTable)
		return r.result()
	}
	if src, fault := newSource(name, data); fault != nil {
		r.faults.list = append(r.faults.list, fault)
	} else if path.Ext(name) == ".jsonl" {
		r.accountsJSONL(src)
	} else {
		r.accountsCSV(src)
	}
	c, err := r.result()
	if err != nil {
		return nil, err
	}
	c.Meters, c.Plans, c.Defaults = nil, nil, nil
	return c, nil
}

func newCatalogReader() *catalogReader {
	return &catalogReader{
		faults:     &faultList{},
		zones:      map[string]*engine.Zone{},
		subjects:   map[string]place{},
		accounts:   map[string]place{},
		priceNodes: map[planID][]*node{},
		currencies: map[string]declared{},
		matrices:   map[string]*matrixTable{},
		c: &Catalog{
			budgetAt:  map[string]*budgetPlaces{},
			meterAt:   map[string]place{},
			planAt:    map[planID]*planPlaces{},
			defaultAt: map[string]place{},
		},
	}
}

// walk reads the files of a catalog.
func (r *catalogReader) walk(fsys fs.FS) error {
	r.fsys = fsys
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := path.Base(name); name != "." && strings.HasPrefix(base, ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return r.file(fsys, name, d)
	})
	if err != nil {
		return fmt.Errorf("read catalog: %w", err)
	}
	return nil
}

func (r *catalogReader) result() (*Catalog, error) {
	r.finish()
	if err := r.faults.err(); err != nil {
		return nil, err
	}
	return r.c, nil
}

func (r *catalogReader) tooLarge(name string, limit int64) {
	const hint = "cut it; many accounts belong into accounts.csv or accounts.jsonl"
	r.unreadable(name, hint, fmt.Sprintf("the file has more than %d MiB", limit>>20))
}

// unreadable reports a file of which nothing is read.
func (r *catalogReader) unreadable(name, hint, fault string) {
	r.unread = true
	r.faults.add(place{&source{name: name}, 1, 1, 1}, hint, "%s", fault)
}

// catalogReader gathers a catalog. Accounts wait until all plans are known.
type catalogReader struct {
	faults     *faultList
	c          *Catalog
	zones      map[string]*engine.Zone // nil for names that are no zone
	unread     bool                    // a file could not be parsed, so references can't be judged
	subjects   map[string]place
	accounts   map[string]place
	priceNodes map[planID][]*node
	currencies map[string]declared
	fsys       fs.FS                   // nil where there are no files beside the one that is read
	matrices   map[string]*matrixTable // by name
	outside    string                  // a table that is no part of fsys
	beside     []string                // keys that may stand beside those of a price, for hints
}

// file reads one file if it is part of a catalog.
func (r *catalogReader) file(fsys fs.FS, name string, d fs.DirEntry) error {
	base, ext := path.Base(name), path.Ext(name)
	yamlFile := ext == ".yaml" || ext == ".yml"
	table := strings.HasPrefix(base, "accounts") && (ext == ".csv" || ext == ".jsonl")
	if d.IsDir() || !yamlFile && !table || isCases(name) || r.faults.full() {
		return nil
	}
	real, info, err := inside(fsys, name) // a link counts as what it points to
	switch {
	case errors.Is(err, errOutside):
		r.unreadable(name, outsideHint, "the file "+err.Error())
		return nil
	case err != nil || info.IsDir():
		return err
	case !info.Mode().IsRegular():
		r.unreadable(name, "write a file, or give it another name", "it is no regular file")
		return nil
	}
	r.c.Files = append(r.c.Files, name)
	limit := int64(MaxFile)
	if table {
		limit = maxTable
	}
	if info.Size() > limit {
		r.tooLarge(name, limit)
		return nil
	}
	data, err := fs.ReadFile(fsys, real)
	if err != nil {
		return err
	}
	src, fault := newSource(name, data)
	if fault != nil {
		r.unread = true
		r.faults.list = append(r.faults.list, fault)
		return nil
	}
	switch {
	case yamlFile:
		r.yaml(src)
	case ext == ".csv":
		r.accountsCSV(src)
	default:
		r.accountsJSONL(src)
	}
	return nil
}

// yaml reads the documents of one file.
func (r *catalogReader) yaml(src *source) {
	before := len(r.faults.list)
	docs := parseYAML(src, r.faults)
	if len(r.faults.list) > before {
		r.unread = true
	}
	for _, doc := range docs {
		if doc != nil && doc.kind != emptyNode {
			r.document(doc)
		}
	}
}

// document reads the parts that a document may have.
func (r *catalogReader) document(doc *node) {
	f := fieldsOf(r.faults, doc, "a catalog file", "meters", "plans", "accounts", "defaults",
		"budgets", "currencies")
	if f == nil {
		r.unread = true
		return
	}
	for _, n := range f.list(f.get("currencies"), "currencies") {
		r.ownCurrency(n)
	}
	for _, n := range f.list(f.get("meters"), "meters") {
		r.meter(n)
	}
	for _, n := range f.list(f.get("plans"), "plans") {
		r.plan(n)
	}
	for _, n := range f.list(f.get("budgets"), "budgets") {
		r.budget(n)
	}
	for _, n := range f.list(f.get("accounts"), "accounts") {
		r.account(n)
	}
	r.defaults(f, f.get("defaults"))
}

// defaults reads the map from event type to plan.
func (r *catalogReader) defaults(f *fields, n *node) {
	if n == nil {
		return
	}
	if n.kind != mapNode {
		r.faults.add(n.at, "write defaults: {event.type: plan}",
			"defaults must be a mapping, not %s", n.what())
		return
	}
	for i, key := range n.keys {
		event, ok := f.name(key, "event type")
		plan, has := f.scalar(n.items[i], "the plan of "+clip(key.text))
		if !ok || !has {
			continue
		}
		if at, twice := r.c.defaultAt[event]; twice {
			r.faults.add(key.at, "the first is in "+at.String(),
				"event type %q has a default already", event)
			continue
		}
		r.c.defaultAt[event] = n.items[i].at
		r.c.Defaults = append(r.c.Defaults, engine.Default{Event: event, Plan: plan})
	}
}

// finish puts everything in order and checks what one part says of another.
func (r *catalogReader) finish() {
	c := r.c
	slices.SortFunc(c.Meters, func(a, b engine.Meter) int { return strings.Compare(a.Key, b.Key) })
	slices.SortFunc(c.Plans, func(a, b engine.Plan) int {
		if a.Key != b.Key {
			return strings.Compare(a.Key, b.Key)
		}
		return a.Version - b.Version
	})
	slices.SortFunc(c.Defaults, func(a, b engine.Default) int {
		return strings.Compare(a.Event, b.Event)
	})
	slices.SortFunc(c.Accounts, func(a, b Account) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(c.Budgets, func(a, b engine.Budget) int { return strings.Compare(a.Key, b.Key) })
	c.zones = r.zones
	c.Files = sortedSet(c.Files) // a matrix may be read by several
	if r.unread {
		return // what a broken file defines would be reported as missing everywhere
	}
	r.checkPlans()
	r.checkDefaults()
	r.checkBudgets()
	r.checkAccounts()
	r.checkEngine()
}

// checkEngine checks what the engine would refuse: the net behind all other checks, which know the
// place better.
func (r *catalogReader) checkEngine() {
	if len(r.faults.list) > 0 {
		return
	}
	refused := func(at place, err error) {
		if err != nil {
			r.faults.add(at, "", "%v", err)
		}
	}
	for i := range r.c.Meters {
		refused(r.c.meterAt[r.c.Meters[i].Key], r.c.Meters[i].Validate())
	}
	for i := range r.c.Plans {
		p := &r.c.Plans[i]
		refused(r.c.planAt[planID{p.Key, p.Version}].plan, p.Validate())
	}
	for i := range r.c.Budgets {
		refused(r.c.budgetAt[r.c.Budgets[i].Key].key, r.c.Budgets[i].Validate())
	}
}

// contains reports whether the list has the word.
func contains(list []string, word string) bool { return slices.Contains(list, word) }

// sortedSet returns the strings rising, each once.
func sortedSet(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
