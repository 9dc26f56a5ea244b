package api

import (
	"net/http"

	"billctl/engine"
)

// Credits lists grants: of one account, or of all.
type Credits struct {
	Schema   string           `json:"schema"`
	Position Position         `json:"position"`
	Credits  []Grant          `json:"credits"`  // by account, and in the order of their granting
	Balances []AccountBalance `json:"balances"` // by account and currency
	More     bool             `json:"more"`     // there are more accounts with credits
}

// Grant is a credit with what was granted, by whom and why.
type Grant struct {
	Account string `json:"account"`
	Credit
	Granted string `json:"granted"`
	Actor   string `json:"actor"`
	Reason  string `json:"reason"`
}

// AccountBalance is what is left of an account's credits of a currency that have not expired.
type AccountBalance struct {
	Account string `json:"account"`
	Balance
}

func (h *handler) credits(r *http.Request, v *engine.View, p Position) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	ids := []string{r.FormValue("account")}
	if ids[0] == "" {
		ids = v.AccountIDs("")
	} else if _, found := v.Account(ids[0]); !found {
		return nil, notFound("there is no account %q", ids[0])
	}
	out := Credits{
		Schema: "billctl.credits.v1", Position: p, Credits: []Grant{}, Balances: []AccountBalance{},
	}
	accounts := 0
	for _, id := range ids {
		a, _ := v.Account(id)
		if len(a.Credits) == 0 {
			continue
		}
		if accounts++; accounts > limit {
			out.More = true
			break
		}
		out.add(v, &a)
	}
	return out, nil
}

// add adds the grants of an account.
func (c *Credits) add(v *engine.View, a *engine.AccountState) {
	list := make([]Credit, len(a.Credits))
	for i := range a.Credits {
		g := &a.Credits[i]
		digits, _ := v.Digits(g.Currency)
		list[i] = makeCredit(g, v.Standing().At)
		c.Credits = append(c.Credits, Grant{
			Account: a.ID, Credit: list[i], Granted: g.Amount.Text(digits), Actor: g.Actor,
			Reason: g.Reason,
		})
	}
	for _, b := range makeBalances(list) {
		c.Balances = append(c.Balances, AccountBalance{a.ID, b})
	}
}
