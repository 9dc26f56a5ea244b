package live

import (
	"fmt"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// AccountFilter is words that an account must all fulfil. The zero value lets every account pass.
type AccountFilter struct {
	words []filterWord
	rates bool // a word is about amounts
}

// filterWord is one condition of an AccountFilter.
type filterWord struct {
	not  bool
	text string // lower case, of id or name; or
	plan string // key; or
	how  string // ">", ">=", "<", "<=": how the amount so far compares with than
	than decimal.Rat
}

// FilterError says what is wrong with a word of a filter.
type FilterError struct{ Word, Fault string }

func (e *FilterError) Error() string {
	return fmt.Sprintf("filter word %q: %s", e.Word, e.Fault)
}

// ParseAccountFilter reads a filter, which is words with spaces between them: text is a part of the
// id or the name in any case, plan:KEY a plan that the account is subscribed to at the position,
// >100, >=100, <5 and <=5 are about the amount so far of its first total. ! in front of a word is
// its opposite. It fails with a *FilterError (docs/formats/api.md).
func ParseAccountFilter(text string) (AccountFilter, error) {
	var f AccountFilter
	for _, word := range strings.Fields(text) {
		w, err := parseFilterWord(word)
		if err != nil {
			return AccountFilter{}, err
		}
		f.words = append(f.words, w)
		f.rates = f.rates || w.how != ""
	}
	return f, nil
}

func parseFilterWord(word string) (w filterWord, err error) {
	rest, not := strings.CutPrefix(word, "!")
	w.not = not
	for _, how := range []string{">=", "<=", ">", "<"} {
		number, is := strings.CutPrefix(rest, how)
		if !is {
			continue
		}
		d, err := decimal.Parse(number)
		if err != nil {
			return w, &FilterError{word, fmt.Sprintf("%q is no number", number)}
		}
		w.how, w.than = how, d.Rat()
		return w, nil
	}
	plan, is := strings.CutPrefix(rest, "plan:")
	switch {
	case is && plan == "":
		return w, &FilterError{word, "it names no plan"}
	case is:
		w.plan = plan
	case rest == "":
		return w, &FilterError{word, "it has no text"}
	default:
		w.text = strings.ToLower(rest)
	}
	return w, nil
}

// passes reports whether an account fulfils all words at an instant. One that is not rated yet
// fulfils none about amounts, and no opposite of one either.
func (f *AccountFilter) passes(e *accountEntry, at engine.Micros) bool {
	for i := range f.words {
		w := &f.words[i]
		if w.how != "" && !e.has {
			return false
		}
		if w.holds(e, at) == w.not {
			return false
		}
	}
	return true
}

func (w *filterWord) holds(e *accountEntry, at engine.Micros) bool {
	switch {
	case w.how != "":
		c := e.soFar.Rat(e.digits).Cmp(w.than)
		return c > 0 && w.how[0] == '>' || c < 0 && w.how[0] == '<' || c == 0 && len(w.how) == 2
	case w.plan != "":
		for _, s := range e.plans {
			if s.key == w.plan && s.from <= at && at < s.to {
				return true
			}
		}
		return false
	}
	return strings.Contains(e.text, w.text)
}
