package formats

import (
	"fmt"
	"slices"
)

// maxNotes is how many notes there are at most.
const maxNotes = 20

// Notes says what is no mistake but may be one, each with its place, "accounts.yaml:7: ...": a tax
// code of an account that no price has, a tax code of a price that no account has while accounts
// have codes, and a budget whose account the catalog does not have. At most 20.
func (c *Catalog) Notes() []string {
	var notes []string
	note := func(at place, format string, args ...any) {
		if len(notes) < maxNotes {
			notes = append(notes, at.String()+": "+fmt.Sprintf(format, args...))
		}
	}
	rated := c.ratedCodes()
	priced := map[string]bool{}
	for i := range c.Plans {
		p := &c.Plans[i]
		at := c.planAt[planID{p.Key, p.Version}]
		for j := range p.Prices {
			x := &p.Prices[j]
			if priced[x.TaxCode] = true; x.TaxCode != "" && len(rated) > 0 && !rated[x.TaxCode] {
				note(at.prices[x.Key], "no account has a rate for tax code %q of price %s", x.TaxCode,
					x.Key)
			}
		}
	}
	for i := range c.Budgets {
		b := &c.Budgets[i]
		if b.Account != "" && !c.hasAccount(b.Account) {
			note(c.budgetAt[b.Key].key, "budget %s is of account %s, which the catalog does not have",
				b.Key, b.Account)
		}
	}
	said := map[string]bool{}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		for j := range a.Taxes {
			for _, rate := range a.Taxes[j].Rates {
				if rate.Code != "" && !priced[rate.Code] && !said[rate.Code] {
					said[rate.Code] = true
					note(a.at.taxes[j], "no price has tax code %q of account %s", rate.Code, a.ID)
				}
			}
		}
	}
	return notes
}

// ratedCodes returns the tax codes that accounts have rates for.
func (c *Catalog) ratedCodes() map[string]bool {
	codes := map[string]bool{}
	for i := range c.Accounts {
		for j := range c.Accounts[i].Taxes {
			for _, rate := range c.Accounts[i].Taxes[j].Rates {
				if rate.Code != "" {
					codes[rate.Code] = true
				}
			}
		}
	}
	return codes
}

func (c *Catalog) hasAccount(id string) bool {
	return slices.ContainsFunc(c.Accounts, func(a Account) bool { return a.ID == id })
}
