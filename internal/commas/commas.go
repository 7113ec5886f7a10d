// Package commas joins values as flags spell lists: 1,2,4.
package commas

import (
	"fmt"
	"strings"
)

// Join returns the values with a comma between each two; "" without values.
func Join[T any](values []T) string {
	text := make([]string, len(values))
	for i, v := range values {
		text[i] = fmt.Sprint(v)
	}
	return strings.Join(text, ",")
}
