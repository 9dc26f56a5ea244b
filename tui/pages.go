package tui

// pages are rows that are read newest first, a page at a time. The first page is asked again and
// again, the older ones once each.
type pages[T any] struct {
	id   func(*T) string
	rows []T
	next string // the place behind which the next page begins; "": there is none
}

// newest takes the first page as it is now. Older rows stay where the page reaches those that
// were there; where so much has come that it does not, all begins anew.
func (g *pages[T]) newest(rows []T, next string) {
	if len(rows) > 0 {
		last := g.id(&rows[len(rows)-1])
		for i := range g.rows {
			if g.id(&g.rows[i]) != last {
				continue
			}
			if i+1 < len(g.rows) {
				rows, next = append(rows[:len(rows):len(rows)], g.rows[i+1:]...), g.next
			}
			break
		}
	}
	g.rows, g.next = rows, next
}

// older takes the page behind a place, unless all has begun anew since it was asked for.
func (g *pages[T]) older(place string, rows []T, next string) {
	if place == g.next && place != "" {
		g.rows, g.next = append(g.rows[:len(g.rows):len(g.rows)], rows...), next
	}
}

// olderID and placeOf name the question for the page behind a place.
const olderID = "older "
